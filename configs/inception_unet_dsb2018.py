"""Inception U-Net on the nuclei of DSB2018.

Paper     Punn & Agarwal 2020, https://doi.org/10.1145/3376922, by its authors' code: images of 128
          x 128, and the sum of 0.4 binary cross entropy, 0.2 Dice loss and 0.4 (1 - IoU); that IoU
          has no gradient there, here it has. Its optimizer and numbers we do not know.
Data      664 images, split by groups of size and background. Classes background, nucleus.
          Each image is z-scored (see configs/unet_dsb2018.py).
Reached   not run yet.
Command   python -m jaxseg.train --config configs/inception_unet_dsb2018.py \
              --workdir runs/inception_unet_dsb2018 data.root=PATH/dsb2018
"""

from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, Dice, Jaccard
from jaxseg.models import InceptionUNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=InceptionUNet(num_classes=2),
            losses={
                "cross_entropy": CrossEntropy(weight=0.4),
                "dice": Dice(weight=0.2),
                "iou": Jaccard(weight=0.4),
            },
            optimizer=Adam(learning_rate=1e-3),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(
            dataset=DSB2018(),
            root="data/dsb2018",
            patch=(128, 128),
            foreground=0.5,
            normalize=ZScore(),
        ),
        steps=10_000,
        batch_size=16,
        evaluation=Evaluation(every=200, window=(128, 128), metrics=("iou", "dice")),
        checkpoint=Checkpoints(every=200, best="iou"),
    )
