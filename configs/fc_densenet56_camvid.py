"""FC-DenseNet56 on CamVid's road scenes, from scratch.

Paper     Jégou et al. 2017, https://arxiv.org/abs/1611.09326: as
          configs/fc_densenet103_camvid.py, with blocks of 4 layers and a growth of 12.
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored.
Reports   mean IoU 58.9, accuracy 88.9 on the test split
Reached   not run yet
Command   python -m jaxseg.train --config configs/fc_densenet56_camvid.py \
              --workdir runs/fc_densenet56_camvid data.root=PATH/camvid
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment
from jaxseg.models import FCDenseNet
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    base = config.read(Path(__file__).parent / "fc_densenet103_camvid.py")
    assert isinstance(base.recipe, Supervised)
    model = FCDenseNet(num_classes=11, layers=(4,) * 6, growth=12, statistics="batch")
    return dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, model=model))
