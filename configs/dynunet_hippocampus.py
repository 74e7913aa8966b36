"""nnU-Net's 3d_fullres on the hippocampus of the Medical Segmentation Decathlon, by its own rules.

Paper     Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z. From version 2.8 of the
          code: SGD at 1e-2, momentum 0.99 (Nesterov), weight decay 3e-5, falling by (1 - t/T)^0.9
          over 1000 epochs of 250 batches, gradients cut at 12; cross entropy and Dice of the
          foreground at each level but the coarsest, weights 1, 1/2; a third of the patches on the
          foreground. Every patch is rotated, zoomed and so on here, each by a draw from nnU-Net's
          range; there it is one in three to ten, and some are of lower resolution.
Plan      of a median volume of 36 x 50 x 35 voxels of 1 mm: axes are halved while 4 voxels or more
          are left of them, three times; the patch is the volume up to a multiple of 8; features
          double from 32; a batch is a twentieth of all voxels.
Data      MSD Task04, 260 MR volumes of about 35 x 50 x 35 voxels of 1 mm; z-scored one by one;
          fold 0 of the five of nnU-Net. Classes background, anterior, posterior.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/dynunet_hippocampus.py \
              --workdir runs/dynunet_hippocampus data.root=PATH/hippocampus
"""

from jaxseg.augment import Augment
from jaxseg.data import Data, Hippocampus, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, DeepSupervision, Dice
from jaxseg.models import DynUNet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised

PATCH = (40, 56, 40)


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=DynUNet(
                num_classes=3,
                widths=(32, 64, 128, 256),
                strides=(1, 2, 2, 2),
                kernels=(3, 3, 3, 3),
                depths=(2, 2, 2, 2),
                decoder_depths=(2, 2, 2),
                deep_supervision=True,
            ),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice(classes="foreground")},
            supervision=DeepSupervision(weights=(1.0, 0.5, 0.0)),
            optimizer=SGD(
                learning_rate=Poly(peak=1e-2),
                momentum=0.99,
                nesterov=True,
                weight_decay=3e-5,
                clip=12.0,
            ),
            augment=Augment(
                flip=0.5,
                rotate=30.0,
                scale=(0.7, 1.4),
                contrast=(0.75, 1.25),
                gamma=(0.7, 1.5),
                blur=1.0,
                noise=0.1,
            ),
        ),
        data=Data(
            dataset=Hippocampus(),
            root="data/hippocampus",
            patch=PATCH,
            foreground=0.33,
            normalize=ZScore(),
        ),
        steps=250_000,
        batch_size=9,
        evaluation=Evaluation(every=2_500, window=PATCH),
        checkpoint=Checkpoints(every=2_500),
    )
