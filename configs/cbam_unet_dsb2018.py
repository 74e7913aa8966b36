"""U-Net with CBAM on the nuclei of DSB2018.

Paper     Woo et al. 2018, https://arxiv.org/abs/1807.06521, classifies and detects, and segments
          nothing; there is no recipe and no number to compare with. What stands here is that of
          configs/unet_dsb2018.py, but for the augmentation.
Data      664 images, split by groups of size and background. Classes background, nucleus.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/cbam_unet_dsb2018.py \
              --workdir runs/cbam_unet_dsb2018 data.root=PATH/dsb2018
"""

from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.models import CBAMUNet
from jaxseg.optimizers import AdamW, Cosine
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=CBAMUNet(num_classes=2, widths=(32, 64, 128, 256, 512)),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=AdamW(learning_rate=Cosine(peak=1e-3, warmup=100), weight_decay=1e-4),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(
            dataset=DSB2018(),
            root="data/dsb2018",
            patch=(256, 256),
            foreground=0.5,
            normalize=ZScore(),
        ),
        steps=5_000,
        batch_size=8,
        evaluation=Evaluation(every=500, window=(256, 256)),
        checkpoint=Checkpoints(every=500),
    )
