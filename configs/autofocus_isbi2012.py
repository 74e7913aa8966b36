"""AFN-6 on the membranes of ISBI 2012.

Paper     Qin et al. 2018, https://arxiv.org/abs/1805.08403, on multi-organ CT and on BraTS 2015,
          volumes both; here in 2-D. From the authors' code: RMSprop at 1e-3, decay 0.9, epsilon
          1e-4, momentum 0.6 (left out here, with a rate of 1e-3 / (1 - 0.6) for it), weight decay
          1e-4, poly 0.9, cross entropy, 400 epochs of batches of 10 patches of 75 voxels an axis,
          flips. What they report was not at hand.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell. Of a patch, the inner 128 x 128 have logits.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/autofocus_isbi2012.py \
              --workdir runs/autofocus_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import Autofocus
from jaxseg.optimizers import Poly, RMSprop
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=Autofocus(num_classes=2),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=RMSprop(
                learning_rate=Poly(peak=2.5e-3), decay=0.9, eps=1e-4, weight_decay=1e-4
            ),
            augment=Augment(flip=0.5),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(156, 156)),
        steps=4_000,
        batch_size=10,
        evaluation=Evaluation(every=200, window=(156, 156)),
        checkpoint=Checkpoints(every=200),
    )
