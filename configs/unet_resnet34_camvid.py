"""U-Net with a ResNet-34 encoder on CamVid's road scenes, from scratch.

Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored
          and never predicted. Class weights by median frequency (facts of the training split).
Reached   not trained to its end yet: three steps and an evaluation were run on two CPU cores.
Command   python -m jaxseg.train --config configs/unet_resnet34_camvid.py \
              --workdir runs/unet_resnet34_camvid data.root=PATH/camvid
"""

from jaxseg.augment import Augment
from jaxseg.data import CamVid, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised

MEDIAN_FREQUENCY = (
    0.2793, 0.2017, 4.7865, 0.149, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587,
)  # fmt: skip


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=UNet(num_classes=11, encoder=ResNet(depth=34)),
            losses={"cross_entropy": CrossEntropy(class_weights=MEDIAN_FREQUENCY)},
            optimizer=SGD(learning_rate=Poly(peak=0.05, warmup=200), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.75, 1.5), contrast=(0.8, 1.2)),
        ),
        data=Data(dataset=CamVid(), root="data/camvid", patch=(320, 320)),
        steps=20_000,
        batch_size=8,
        evaluation=Evaluation(every=1000, metrics=("iou", "dice", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
