"""PAN with a ResNet-101 at output stride 16 on Pascal VOC 2012 with SBD's masks.

Paper     Li et al. 2018, https://arxiv.org/abs/1805.10180 (recalled but for the numbers): SGD with
          momentum 0.9 at 0.004, poly 0.9, weight decay 1e-4, 16 crops of 512 a batch, flips,
          scales 0.5 to 2; cross entropy; the encoder from ImageNet weights. 84.0 IoU on the test
          images without COCO; 78.6 on Cityscapes' test images.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/pan_resnet101_voc2012.py \
              --workdir runs/pan_resnet101_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models.pan import PAN
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=PAN(num_classes=21, encoder=ResNet(101, stem="deep", output_stride=16)),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.004), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(512, 512)),
        steps=30_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(512, 512), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
