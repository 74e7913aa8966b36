"""FCN-8s on VGG16, from a run of FCN-16s, on Pascal VOC 2012.

Paper     Shelhamer, Long, Darrell 2017, https://arxiv.org/abs/1605.06211: as
          configs/fcn32s_vgg16_voc2012.py, at a rate of 1e-14; the scores of pool3 start at zero.
Reports   mean IoU 65.5 on the 736 images of seg11valid (released network)
Reached   not run yet
Command   python -m jaxseg.train --config configs/fcn8s_vgg16_voc2012.py \
              --workdir runs/fcn8s_vgg16_voc2012 data.root=PATH/VOCdevkit/VOC2012
          after configs/fcn16s_vgg16_voc2012.py in runs/fcn16s_vgg16_voc2012
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment, InitFrom
from jaxseg.optimizers import SGD
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    before = config.read(Path(__file__).parent / "fcn16s_vgg16_voc2012.py")
    assert isinstance(before.recipe, Supervised)
    return dataclasses.replace(
        before,
        recipe=dataclasses.replace(
            before.recipe,
            model=before.recipe.model.clone(form="8s"),
            optimizer=SGD(learning_rate=1e-14, momentum=0.99, weight_decay=5e-4),
        ),
        init_from={"model": InitFrom(run="runs/fcn16s_vgg16_voc2012", fresh=("score_pool3",))},
    )
