"""ESPNet on CamVid's road scenes, from scratch.

Paper     Mehta et al. 2018, https://arxiv.org/abs/1803.06815, with the numbers of their code:
          Adam at 5e-4 with an L2 penalty of 5e-4 (here there is none), halved every 100 of 300
          epochs, cross entropy by class weights 1 / ln(1.10 + share of the class), flips, crops;
          an epoch passes five sizes of the images, from 0.5 to 1.5 of theirs, in turn. ESPNet-C is
          trained first, at an eighth of the labels' size, 12 images a step, then all with its
          weights, 6 a step; here all at once (``recipe.model=espnet_c`` trains that one).
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored
          (theirs is a twelfth class).
Reports   mean IoU 55.64 on the test split, void pixels counted as false
Reached   not run yet
Command   python -m jaxseg.train --config configs/espnet_camvid.py \
              --workdir runs/espnet_camvid data.root=PATH/camvid
"""

import math

from jaxseg.augment import Augment
from jaxseg.data import CamVid, Data
from jaxseg.encoders import ESPNetC, Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import ESPNet
from jaxseg.optimizers import Adam, Exponential
from jaxseg.recipes import Supervised

EPOCH = 61
"""Steps in which every training image is seen once."""

SHARES = (
    0.16845, 0.23259, 0.00983, 0.31658, 0.04486, 0.09724, 0.01173, 0.01127, 0.05866, 0.00639,
    0.00292,
)  # fmt: skip
"""Of the classes among all pixels of the training images."""

STANDARDIZE = Standardize(
    mean=(110.33139, 108.40919, 105.03353), std=(72.125206, 72.68849, 69.902596), scale=255.0,
    order="bgr",
)  # fmt: skip


def experiment() -> Experiment:
    """The experiment; windows are the whole image."""
    weights = tuple(1 / math.log(1.1 + share) for share in SHARES)
    return Experiment(
        recipe=Supervised(
            model=ESPNet(num_classes=11, encoder=ESPNetC(standardize=STANDARDIZE)),
            losses={"cross_entropy": CrossEntropy(class_weights=weights)},
            optimizer=Adam(learning_rate=Exponential(5e-4, decay=0.5, every=500 * EPOCH)),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 1.5)),
        ),
        data=Data(dataset=CamVid(), root="data/camvid", patch=(360, 480)),
        steps=1_500 * EPOCH,
        batch_size=6,
        evaluation=Evaluation(every=25 * EPOCH, metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=25 * EPOCH, best="iou"),
    )
