"""V-Net on the hippocampus of the Medical Segmentation Decathlon.

Paper     Milletari et al. 2016, https://arxiv.org/abs/1606.04797, on prostates in MR (PROMISE12).
          From the authors' code: batches of 2, 100,000 steps, Dice of squares, deformation by
          B-splines of few control points, 15 voxels of 128. Recalled, not checked: SGD at 1e-4,
          momentum 0.99, a tenth of it every 25,000 steps; Dice 0.869, Hausdorff distance 5.71 mm.
          Histograms are not matched here, and He's draw begins it.
Data      MSD Task04, 260 MR volumes of about 35 x 50 x 35 voxels of 1 mm; z-scored one by one;
          fold 0 of the five of nnU-Net. Classes background, anterior, posterior.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/vnet_hippocampus.py \
              --workdir runs/vnet_hippocampus data.root=PATH/hippocampus
"""

from jaxseg.augment import Augment
from jaxseg.data import Data, Hippocampus, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import Dice
from jaxseg.models import VNet
from jaxseg.optimizers import SGD, Exponential
from jaxseg.recipes import Supervised

PATCH = (48, 64, 48)


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=VNet(num_classes=3, flavor="prototxt"),
            losses={"dice": Dice(classes="foreground", squared=True)},
            optimizer=SGD(
                learning_rate=Exponential(peak=1e-4, decay=0.1, every=25_000), momentum=0.99
            ),
            augment=Augment(elastic=5.0),
        ),
        data=Data(
            dataset=Hippocampus(),
            root="data/hippocampus",
            patch=PATCH,
            normalize=ZScore(),
        ),
        steps=100_000,
        batch_size=2,
        evaluation=Evaluation(every=2_500, window=PATCH),
        checkpoint=Checkpoints(every=2_500),
    )
