"""Non-local U-Net on the hippocampus of the Medical Segmentation Decathlon.

Paper     Wang et al. 2020, https://arxiv.org/abs/1812.04103, on T1 and T2 volumes of infants'
          brains. From the authors' code: Adam at 1e-3, weight decay 2e-6, cross entropy, batches of
          5 patches of 32 voxels an axis, windows 8 apart in prediction. Recalled, not checked: Dice
          0.953, 0.925 and 0.910 of cerebrospinal fluid, grey and white matter on iSeg-2017.
Data      MSD Task04, 260 MR volumes of about 35 x 50 x 35 voxels of 1 mm; z-scored one by one;
          fold 0 of the five of nnU-Net. Classes background, anterior, posterior.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/nonlocal_unet_hippocampus.py \
              --workdir runs/nonlocal_unet_hippocampus data.root=PATH/hippocampus
"""

from jaxseg.data import Data, Hippocampus, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import NonLocalUNet
from jaxseg.optimizers import AdamW
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=NonLocalUNet(num_classes=3),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=AdamW(learning_rate=1e-3, weight_decay=2e-6),
        ),
        data=Data(
            dataset=Hippocampus(),
            root="data/hippocampus",
            patch=(32, 32, 32),
            normalize=ZScore(),
        ),
        steps=10_000,
        batch_size=5,
        evaluation=Evaluation(every=500, window=(32, 32, 32), overlap=0.75),
        checkpoint=Checkpoints(every=500),
    )
