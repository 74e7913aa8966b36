"""ENet on CamVid's road scenes, from scratch.

Paper     Paszke et al. 2016, https://arxiv.org/abs/1606.02147: Adam at 5e-4 with an L2 penalty of
          2e-4 (here there is none), 10 images a step, cross entropy by class weights
          1 / ln(1.02 + share of the class). The encoder is trained first, by a classifier of its
          own at an eighth of the size, then the decoder is added; here all at once.
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored.
Reports   mean IoU 51.3 on the test split
Reached   not run yet
Command   python -m jaxseg.train --config configs/enet_camvid.py \
              --workdir runs/enet_camvid data.root=PATH/camvid
"""

import math

from jaxseg.augment import Augment
from jaxseg.data import CamVid, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import ENet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised

EPOCH = 37
"""Steps in which every training image is seen once."""

SHARES = (
    0.16845, 0.23259, 0.00983, 0.31658, 0.04486, 0.09724, 0.01173, 0.01127, 0.05866, 0.00639,
    0.00292,
)  # fmt: skip
"""Of the classes among all pixels of the training images."""


def experiment() -> Experiment:
    """The experiment; windows are the whole image."""
    weights = tuple(1 / math.log(1.02 + share) for share in SHARES)
    return Experiment(
        recipe=Supervised(
            model=ENet(num_classes=11),
            losses={"cross_entropy": CrossEntropy(class_weights=weights)},
            optimizer=Adam(learning_rate=5e-4),
            augment=Augment(flip=(0.0, 0.5)),
        ),
        data=Data(dataset=CamVid(), root="data/camvid", patch=(360, 480)),
        steps=300 * EPOCH,
        batch_size=10,
        evaluation=Evaluation(every=10 * EPOCH, metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=10 * EPOCH, best="iou"),
    )
