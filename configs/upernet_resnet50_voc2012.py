"""UPerNet with a ResNet-50 on Pascal VOC 2012 with SBD's masks.

Paper     Xiao et al. 2018, https://arxiv.org/abs/1807.10221, on ADE20K, which is not a data set
          here. Recalled, not checked: SGD at 0.02 with momentum 0.9, poly 0.9, weight decay 1e-4,
          16 images a batch, their shorter sides 300 to 600 pixels, 20 epochs, flips; cross
          entropy; the encoder from ImageNet weights; 42.66 IoU on ADE20K's validation images
          with ResNet-101.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/upernet_resnet50_voc2012.py \
              --workdir runs/upernet_resnet50_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models.upernet import UPerNet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=UPerNet(num_classes=21, encoder=ResNet(50, stem="deep")),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.02), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(512, 512)),
        steps=30_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(512, 512), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
