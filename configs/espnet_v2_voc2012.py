"""ESPNetv2 on Pascal VOC 2012 with SBD's masks.

Paper     Mehta et al. 2019, https://arxiv.org/abs/1811.11431, with the numbers of their code:
          Adam at 5e-4 with an L2 penalty of 5e-4 (here there is none), poly, 10 images a step, 300
          epochs of five sizes of the images, from 0.5 to 1.5 of theirs, in turn; cross entropy by
          class weights of the logits and as much of those at an eighth of the size; flips and
          crops; from ImageNet weights, and for VOC from COCO's. Recalled, not checked: 68.0 IoU on
          VOC's test images, 66.2 on those of Cityscapes.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/espnet_v2_voc2012.py \
              --workdir runs/espnet_v2_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, DeepSupervision
from jaxseg.models import ESPNetV2
from jaxseg.optimizers import Adam, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=ESPNetV2(num_classes=21),
            losses={"cross_entropy": CrossEntropy()},
            supervision=DeepSupervision(weights=(1.0, 1.0), normalise=False),
            optimizer=Adam(learning_rate=Poly(peak=5e-4)),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 1.5)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(384, 384)),
        steps=100_000,
        batch_size=10,
        evaluation=Evaluation(every=2_000, window=(384, 384), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=2_000, best="iou"),
    )
