"""nnU-Net's residual encoder on the hippocampus of the Medical Segmentation Decathlon, preset M.

Paper     Isensee et al. 2024, https://arxiv.org/abs/2404.09556: blocks of 1, 3, 4, 6 beside
          shortcuts on the way down, one convolution a level on the way up; else the recipe and the
          plan of configs/dynunet_hippocampus.py. The presets M, L and XL are planned for 8, 24 and
          40 GB of memory. Here the patch is the whole volume in each, so that only batches differ:
          58, 178 and 183 patches (all of the data) follow from version 2.8's rule of memory; no
          plan of nnU-Net's own was at hand.
Data      as there.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/dynunet_residual_hippocampus.py \
              --workdir runs/dynunet_residual_hippocampus data.root=PATH/hippocampus
          batch_size=178 is preset L
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    base = config.read(Path(__file__).parent / "dynunet_hippocampus.py")
    assert isinstance(base.recipe, Supervised)
    model = base.recipe.model.clone(block="residual", depths=(1, 3, 4, 6), decoder_depths=(1, 1, 1))
    recipe = dataclasses.replace(base.recipe, model=model)
    return dataclasses.replace(base, recipe=recipe, batch_size=58)
