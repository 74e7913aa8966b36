"""U-Net on the membranes of ISBI 2012, small enough for a laptop.

Paper     Ronneberger, Fischer, Brox 2015, https://arxiv.org/abs/1505.04597; here 16..256 channels
          of its 64..1024, padded convolutions and batch norm, its flips, rotations and elastic
          deformation (displacements on a 3 x 3 grid, 10 pixels).
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden, so the numbers are not the leaderboard's. Classes membrane and cell.
Reached   validation mean Dice 0.871 (membrane 0.791, cell 0.950) at step 400, in 299 s on two CPU
          cores, jax 0.10.2, beside other work; sliding windows of 256 x 256.
Command   python -m jaxseg.train --config configs/unet_isbi2012.py --workdir runs/unet_isbi2012 \
              data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.encoders import Plain
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.models import UNet
from jaxseg.optimizers import AdamW, Cosine
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=UNet(num_classes=2, encoder=Plain(widths=(16, 32, 64, 128, 256))),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=AdamW(learning_rate=Cosine(peak=2e-3, warmup=50), weight_decay=1e-4),
            augment=Augment(
                flip=0.5, transpose=0.5, rotate=30.0, elastic=10.0, contrast=(0.8, 1.2), noise=0.05
            ),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(192, 192)),
        steps=400,
        batch_size=4,
        evaluation=Evaluation(every=100, window=(256, 256)),
        checkpoint=Checkpoints(every=100),
    )
