"""UNet++ of one level on nuclei, L1 to L4 each trained alone: what pruning is compared with.

Paper     Zhou, Siddiquee, Tajbakhsh, Liang 2020, https://arxiv.org/abs/1912.05074: the recipe of
          configs/unet_plus_plus_dsb2018_embedded.py, but without what lies deeper than the level,
          and with its head alone.
Data      664 images, split by groups of size and background. Classes background, nucleus.
Reached   not run yet
Command   python -m jaxseg.train --config configs/unet_plus_plus_dsb2018_isolated.py \
              --workdir runs/unet_plus_plus_isolated_l2 data.root=PATH/dsb2018 recipe.model.level=2
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment
from jaxseg.losses import DeepSupervision
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment; ``recipe.model.level`` is the level."""
    base = config.read(Path(__file__).parent / "unet_plus_plus_dsb2018_embedded.py")
    assert isinstance(base.recipe, Supervised)
    recipe = dataclasses.replace(
        base.recipe,
        model=base.recipe.model.clone(mode="single", level=4),
        supervision=DeepSupervision(),
    )
    return dataclasses.replace(base, recipe=recipe)
