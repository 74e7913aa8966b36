"""Wide U-Net on nuclei: a U-Net of as many parameters as UNet++, which UNet++ is compared with.

Paper     Zhou, Siddiquee, Tajbakhsh, Liang 2020, https://arxiv.org/abs/1912.05074: widths 35, 70,
          140, 280, 560 in the place of 32 to 512; the recipe of
          configs/unet_plus_plus_dsb2018_embedded.py, with one head. Its first version reports an
          IoU of 90.9, and 90.8 of the U-Net (we remember these numbers, and have not checked them).
Data      664 images, split by groups of size and background. Classes background, nucleus.
Reached   not run yet
Command   python -m jaxseg.train --config configs/wide_unet_dsb2018.py \
              --workdir runs/wide_unet_dsb2018 data.root=PATH/dsb2018
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment
from jaxseg.losses import DeepSupervision
from jaxseg.models import create
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    base = config.read(Path(__file__).parent / "unet_plus_plus_dsb2018_embedded.py")
    assert isinstance(base.recipe, Supervised)
    model = create("wide_unet", num_classes=2)
    recipe = dataclasses.replace(base.recipe, model=model, supervision=DeepSupervision())
    return dataclasses.replace(base, recipe=recipe)
