"""R2U-Net on the membranes of ISBI 2012.

Paper     Alom et al. 2018, https://arxiv.org/abs/1802.06955, on vessels of the retina, skin lesions
          and lungs. Recalled, not checked: Adam at 2e-4, cross entropy, 250 epochs of 190,000
          patches of 48 x 48 of the retina; AUC 0.9784 on DRIVE, 0.9914 on STARE, 0.9815 on CHASE.
          Here the patches are larger: a membrane's cell does not fit into 48 pixels.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/r2unet_isbi2012.py \
              --workdir runs/r2unet_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import R2UNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=R2UNet(num_classes=2),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=Adam(learning_rate=2e-4),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(192, 192)),
        steps=4_000,
        batch_size=8,
        evaluation=Evaluation(every=200, window=(192, 192)),
        checkpoint=Checkpoints(every=200),
    )
