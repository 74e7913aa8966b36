"""Hybrid dilation and dense upsampling on ResNet-101 on Pascal VOC 2012 with SBD's masks.

Paper     Wang et al. 2018, https://arxiv.org/abs/1702.08502 (recalled, not checked): its networks
          are trained on Cityscapes first, and reach 83.1 IoU on the test images of VOC 2012 from
          COCO and a ResNet-152. What stands here is DeepLab's recipe: SGD with momentum 0.9 at
          2.5e-4, poly 0.9, weight decay 5e-4, 10 crops of 512 a batch, 20,000 steps, scales 0.5
          to 1.5, flips.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/hdc_duc_resnet101_voc2012.py \
              --workdir runs/hdc_duc_resnet101_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import HDCDUC
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=HDCDUC(num_classes=21),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=2.5e-4), weight_decay=5e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 1.5)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(512, 512)),
        steps=20_000,
        batch_size=10,
        evaluation=Evaluation(every=1000, window=(512, 512), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
