"""The 2-D network of H-DenseUNet on the membranes of ISBI 2012: no livers are among our data sets.

Paper     Li et al. 2018, https://arxiv.org/abs/1709.07330, on the liver tumours of LiTS, by its
          authors' code: SGD at 1e-3 with Nesterov's momentum 0.9, three adjacent slices of 224 x
          224 as channels, CT values less 48, scales 0.8 to 1.2, flips and rotations; cross
          entropy, classes weighted 0.78 (background), 0.65 (liver) and 8.57 (tumour); the trunk
          from ImageNet weights. Recalled, not checked: poly 0.9; with the 3-D network behind it
          Dice by case 96.1 of livers and 72.2 of tumours. Here one slice is one channel, and
          classes weigh the same.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/dense_unet_isbi2012.py \
              --workdir runs/dense_unet_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import DenseUNet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=DenseUNet(num_classes=2),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=1e-3), nesterov=True),
            augment=Augment(flip=0.5, transpose=0.5, rotate=30.0, scale=(0.8, 1.2)),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(224, 224)),
        steps=4_000,
        batch_size=8,
        evaluation=Evaluation(every=200, window=(224, 224)),
        checkpoint=Checkpoints(every=200),
    )
