"""SegNet-Basic on CamVid's road scenes, as its released solver trains it.

Paper     Badrinarayanan, Kendall, Cipolla 2017, https://arxiv.org/abs/1511.00561: as
          configs/segnet_vgg16_camvid.py, at a rate of 0.1 for 10,000 steps, from random weights.
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored.
Reports   a number of the released network is not at hand
Reached   not run yet
Command   python -m jaxseg.train --config configs/segnet_basic_camvid.py \
              --workdir runs/segnet_basic_camvid data.root=PATH/camvid
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment
from jaxseg.models import SegNetBasic
from jaxseg.optimizers import SGD
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment; the response normalisation sees images up to 255."""
    base = config.read(Path(__file__).parent / "segnet_vgg16_camvid.py")
    assert isinstance(base.recipe, Supervised)
    return dataclasses.replace(
        base,
        recipe=dataclasses.replace(
            base.recipe,
            model=SegNetBasic(num_classes=11, standardize=base.recipe.model.standardize),
            optimizer=SGD(learning_rate=0.1, momentum=0.9, weight_decay=5e-4),
        ),
        steps=10_000,
    )
