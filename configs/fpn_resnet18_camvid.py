"""Semantic FPN with a ResNet-18 encoder on CamVid's road scenes, from scratch, for two CPU cores.

Paper     Kirillov et al. 2019, https://arxiv.org/abs/1901.02446, on Cityscapes, from ImageNet
          weights. Recalled, not checked: SGD at 0.01, a tenth of it from 40,000 and from 55,000 of
          65,000 steps, weight decay 1e-4, 32 crops of 512 x 1024 a batch, flips, scales 0.5 to 2,
          colours; cross entropy; 77.7 IoU on the validation images with ResNet-101. Here a
          quarter of its width, smaller crops and CamVid.
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored
          and never predicted.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/fpn_resnet18_camvid.py \\
              --workdir runs/fpn_resnet18_camvid data.root=PATH/camvid
"""

from jaxseg.augment import Augment
from jaxseg.data import CamVid, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models.fpn import FPN
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=FPN(num_classes=11, encoder=ResNet(depth=18), width=64, branch_width=32),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.05, warmup=100), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.75, 1.5), contrast=(0.8, 1.2)),
        ),
        data=Data(dataset=CamVid(), root="data/camvid", patch=(224, 320)),
        steps=2_000,
        batch_size=8,
        evaluation=Evaluation(every=500, metrics=("iou", "dice", "accuracy")),
        checkpoint=Checkpoints(every=500, best="iou"),
    )
