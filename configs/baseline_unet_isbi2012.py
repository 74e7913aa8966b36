"""The baseline U-Net of surveys on the membranes of ISBI 2012.

Paper     after Ronneberger, Fischer, Brox 2015, https://arxiv.org/abs/1505.04597: its flips,
          rotations and elastic deformation (displacements on a 3 x 3 grid, 10 pixels); SGD with
          momentum 0.99 there, and a warping error of 0.00035. Surveys train such a baseline with
          Adam at about 1e-4 and cross entropy, which is what stands here.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell.
Reached   not run yet
Command   python -m jaxseg.train --config configs/baseline_unet_isbi2012.py \
              --workdir runs/baseline_unet_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import create
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=create("baseline_unet", num_classes=2),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=Adam(learning_rate=1e-4),
            augment=Augment(flip=0.5, transpose=0.5, rotate=30.0, elastic=10.0),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(256, 256)),
        steps=10_000,
        batch_size=4,
        evaluation=Evaluation(every=250, window=(256, 256)),
        checkpoint=Checkpoints(every=250),
    )
