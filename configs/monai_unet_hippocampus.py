"""MONAI's residual U-Net on the hippocampus of the Medical Segmentation Decathlon.

Paper     Kerfoot et al. 2018, https://link.springer.com/chapter/10.1007/978-3-030-12029-0_40, on
          slices of cardiac MR; the network is the one of MONAI's tutorials on volumes. Here it is
          trained as `unet_hippocampus`.
Data      MSD Task04, 260 MR volumes of about 35 x 50 x 35 voxels of 1 mm; z-scored one by one;
          fold 0 of the five of nnU-Net. Classes background, anterior, posterior.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/monai_unet_hippocampus.py \
              --workdir runs/monai_unet_hippocampus data.root=PATH/hippocampus
"""

from jaxseg.augment import Augment
from jaxseg.data import Data, Hippocampus, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.layers import ADN
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.models import MonaiUNet
from jaxseg.optimizers import AdamW, Cosine
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=MonaiUNet(
                num_classes=3,
                widths=(16, 32, 64, 128),
                strides=(2, 2, 2),
                after=ADN("batch", affine=True),
            ),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=AdamW(learning_rate=Cosine(peak=1e-3, warmup=50), weight_decay=1e-4),
            augment=Augment(rotate=15.0, scale=(0.85, 1.2), contrast=(0.8, 1.2), noise=0.1),
        ),
        data=Data(
            dataset=Hippocampus(),
            root="data/hippocampus",
            patch=(40, 56, 40),
            foreground=0.33,
            normalize=ZScore(),
        ),
        steps=2_000,
        batch_size=4,
        evaluation=Evaluation(every=200, window=(40, 56, 40)),
        checkpoint=Checkpoints(every=200),
    )
