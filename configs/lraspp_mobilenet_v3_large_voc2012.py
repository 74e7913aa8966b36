"""LR-ASPP with a MobileNetV3 on Pascal VOC 2012 with SBD's masks.

Paper     Howard et al. 2019, https://arxiv.org/abs/1905.02244, trains on Cityscapes, which is not a
          data set here: 72.6 IoU on its validation images (recalled, not checked). The recipe is
          torchvision's, on images of COCO with VOC's classes: SGD at 0.01 with momentum 0.9, poly
          0.9, weight decay 1e-6, 32 crops of 480 a batch, 30 epochs, flips, scales 0.5 to 2; cross
          entropy; the encoder from ImageNet weights; 57.9 IoU on COCO's validation images.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/lraspp_mobilenet_v3_large_voc2012.py \
              --workdir runs/lraspp_mobilenet_v3_large_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import MobileNetV3
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import LRASPP
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=LRASPP(num_classes=21, encoder=MobileNetV3(output_stride=16, tap="first")),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.01), weight_decay=1e-6),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(480, 480)),
        steps=10_000,
        batch_size=32,
        evaluation=Evaluation(every=1000, window=(480, 480), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
