"""NAS-Unet, of the genotype that its authors build, on the membranes of ISBI 2012.

Paper     Weng et al. 2019, https://doi.org/10.1109/ACCESS.2019.2908991, on prostates (Promise12),
          livers (CHAOS) and nerves (ultrasound); the search was on Pascal VOC. The code's recipe
          there: SGD at 0.05 with weight decay 1e-4, poly, cross entropy. It has 32 channels and 5
          cells for prostates, 48 and 6 for nerves, 64 and 6 for livers.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/nas_unet_isbi2012.py \
              --workdir runs/nas_unet_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models.nas_unet import GENOTYPES, NASUNet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=NASUNet(num_classes=2, width=32, genotype=GENOTYPES["v2"]),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.05), weight_decay=1e-4),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(256, 256)),
        steps=4_000,
        batch_size=8,
        evaluation=Evaluation(every=200, window=(256, 256)),
        checkpoint=Checkpoints(every=200),
    )
