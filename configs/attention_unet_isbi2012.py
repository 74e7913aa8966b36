"""Attention U-Net on the membranes of ISBI 2012.

Paper     Oktay et al. 2018, https://arxiv.org/abs/1804.03999, on volumes, CT of the abdomen, by the
          authors' code: Adam at 1e-4, L2 1e-6, soft Dice, 2 volumes of 160 x 160 x 96 a batch,
          1,000 epochs, affine transforms and flips, a step of the rate every 250 epochs. Recalled,
          not checked: Dice 0.840 of the pancreas on CT-150, 0.814 of the U-Net without gates.
          Here it is the same network on slices, flipped and turned; the rate stays, and nothing
          decays.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/attention_unet_isbi2012.py \
              --workdir runs/attention_unet_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import Dice
from jaxseg.models import AttentionUNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=AttentionUNet(num_classes=2),
            losses={"dice": Dice()},
            optimizer=Adam(learning_rate=1e-4),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(192, 192)),
        steps=10_000,
        batch_size=8,
        evaluation=Evaluation(every=500, window=(192, 192)),
        checkpoint=Checkpoints(every=500),
    )
