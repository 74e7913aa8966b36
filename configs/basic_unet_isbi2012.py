"""MONAI's basic U-Net on the membranes of ISBI 2012.

Paper     Falk et al. 2019, https://doi.org/10.1038/s41592-018-0261-2, the plugin for ImageJ; the
          network is MONAI's form of it.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/basic_unet_isbi2012.py \
              --workdir runs/basic_unet_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.models import BasicUNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=BasicUNet(num_classes=2, widths=(64, 128, 256, 512, 1024), last_width=128),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=Adam(learning_rate=1e-4),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(192, 192)),
        steps=10_000,
        batch_size=4,
        evaluation=Evaluation(every=500, window=(192, 192)),
        checkpoint=Checkpoints(every=500),
    )
