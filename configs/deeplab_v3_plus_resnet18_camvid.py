"""DeepLab v3+ with a ResNet-18 encoder on CamVid's road scenes, from scratch, for two CPU cores.

Paper     Chen et al. 2018, https://arxiv.org/abs/1802.02611, on other data and from ImageNet
          weights: see configs/deeplab_v3_plus_xception65_voc2012.py. Here a quarter of the width
          of its head and smaller crops.
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored
          and never predicted.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/deeplab_v3_plus_resnet18_camvid.py \
              --workdir runs/deeplab_v3_plus_resnet18_camvid data.root=PATH/camvid
"""

from jaxseg.augment import Augment
from jaxseg.data import CamVid, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import DeepLabV3Plus
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    encoder = ResNet(depth=18, output_stride=16)
    return Experiment(
        recipe=Supervised(
            model=DeepLabV3Plus(num_classes=11, encoder=encoder, width=64, low_level_width=32),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.05, warmup=100), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0), contrast=(0.8, 1.2)),
        ),
        data=Data(dataset=CamVid(), root="data/camvid", patch=(225, 321)),
        steps=2_000,
        batch_size=8,
        evaluation=Evaluation(every=500, metrics=("iou", "dice", "accuracy")),
        checkpoint=Checkpoints(every=500, best="iou"),
    )
