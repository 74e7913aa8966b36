"""FC-ResNet behind a normalizing network on the membranes of ISBI 2012.

Paper     Drozdzal et al. 2018, https://arxiv.org/abs/1702.05174, on this set, on liver lesions and
          on prostates. From the example of the authors' library: RMSprop at 1e-3, decay 0.9, weight
          decay 1e-4, dropout 0.1, Dice loss, 500 epochs of batches of 4 whole slices, each slice
          with mean 0 and deviation 1, flips, turns up to 25 degrees, shears (not here). Recalled,
          not checked: the mean over several predictions with dropout. Its score is not at hand.
Data      30 slices of 512 x 512, of which 0-23 train and 24-29 validate: the challenge's test
          labels are hidden. Classes membrane and cell; the paper's membranes have one logit.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/fc_resnet_isbi2012.py \
              --workdir runs/fc_resnet_isbi2012 data.root=PATH/isbi2012
"""

from jaxseg.augment import Augment
from jaxseg.data import ISBI2012, Data, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import Dice
from jaxseg.models import FCResNet
from jaxseg.optimizers import RMSprop
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=FCResNet(num_classes=2, dropout=0.1),
            losses={"dice": Dice()},
            optimizer=RMSprop(learning_rate=1e-3, decay=0.9, weight_decay=1e-4),
            augment=Augment(flip=0.5, rotate=25.0),
        ),
        data=Data(dataset=ISBI2012(), root="data/isbi2012", patch=(512, 512), normalize=ZScore()),
        steps=3_000,
        batch_size=4,
        evaluation=Evaluation(every=200, dropout_samples=5),
        checkpoint=Checkpoints(every=200),
    )
