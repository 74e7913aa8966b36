"""MSGA with ResNeXt-101 32x8d on the membranes of ISBI 2012.

Paper     Sinha & Dolz 2020, https://arxiv.org/abs/1906.02849, on abdominal MRI (CHAOS), brain
          tumours and hearts. From the authors' code: Adam at 1e-3 with betas 0.9 and 0.99, halved
          when nothing improved (here constant), 500 epochs of batches of 8, the sum of the cross
          entropies of eight predictions, a quarter of the codes' distances, a tenth of the
          reconstructions'. Recalled, not checked: mean Dice 0.8675 on CHAOS.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/msga_resnext101_isbi2012.py \
              --workdir runs/msga_resnext101_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, DeepSupervision
from jaxseg.models import MSGA
from jaxseg.optimizers import Adam
from jaxseg.recipes import Guided


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Guided(
            model=MSGA(num_classes=2),
            losses={"cross_entropy": CrossEntropy()},
            # the mean of the refined logits has no loss of its own
            supervision=DeepSupervision(weights=(0.0, *(1.0,) * 8), normalise=False),
            guides={"semantic": 0.25, "reconstruction": 0.1},
            optimizer=Adam(learning_rate=1e-3, b2=0.99),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(256, 256)),
        steps=4_000,
        batch_size=8,
        evaluation=Evaluation(every=200, window=(256, 256)),
        checkpoint=Checkpoints(every=200),
    )
