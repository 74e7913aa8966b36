"""U-Net with scSE blocks on the membranes of ISBI 2012.

Paper     Roy et al. 2018, https://arxiv.org/abs/1803.02579, on brains (MALC) and organs (Visceral).
          Recalled, not checked: SGD with momentum 0.9 at 0.01, a tenth of the rate every 10 epochs,
          weight decay 1e-4, cross entropy weighted by frequency and by edges plus Dice; on MALC,
          U-Net gains 3 points of Dice. Here cross entropy has no weights, and the
          rate falls after 2,000 steps.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/scse_unet_isbi2012.py \
              --workdir runs/scse_unet_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.models import SCSEUNet
from jaxseg.optimizers import SGD, Exponential
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=SCSEUNet(num_classes=2),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=SGD(
                learning_rate=Exponential(peak=0.01, decay=0.1, every=2_000), weight_decay=1e-4
            ),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(192, 192)),
        steps=4_000,
        batch_size=8,
        evaluation=Evaluation(every=200, window=(192, 192)),
        checkpoint=Checkpoints(every=200),
    )
