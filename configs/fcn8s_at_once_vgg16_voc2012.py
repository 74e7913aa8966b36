"""FCN-8s "at once" on VGG16: all three scores from the start, on Pascal VOC 2012.

Paper     Shelhamer, Long, Darrell 2017, https://arxiv.org/abs/1605.06211: as
          configs/fcn32s_vgg16_voc2012.py, up to 300,000 steps at a rate of 1e-10; pool4 is scaled
          by 0.01 and pool3 by 0.0001, so that their scores learn as slowly as in stages.
Reports   mean IoU 65.4 on the 736 images of seg11valid (released network)
Reached   not run yet
Command   python -m jaxseg.train --config configs/fcn8s_at_once_vgg16_voc2012.py \
              --workdir runs/fcn8s_at_once_vgg16_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    base = config.read(Path(__file__).parent / "fcn32s_vgg16_voc2012.py")
    assert isinstance(base.recipe, Supervised)
    model = base.recipe.model.clone(form="8s_at_once")
    return dataclasses.replace(
        base, recipe=dataclasses.replace(base.recipe, model=model), steps=300_000
    )
