"""KiU-Net on the nuclei of DSB2018.

Paper     Valanarasu et al. 2020, https://arxiv.org/abs/2006.04878, on ultrasound images of
          the brains of neonates, on glands (GlaS) and vessels of the retina (RITE), all of them
          128 x 128 pixels. Recalled, not checked: Adam at 1e-3 (the command of their page: 1e-4),
          cross entropy, one image a step, 300 to 400 epochs; Dice 0.8325 on GlaS, 0.7517 on RITE.
          Here patches are cut, as many pixels large.
Data      664 images, split by groups of size and background. Classes background, nucleus.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/kiunet_dsb2018.py \
              --workdir runs/kiunet_dsb2018 data.root=PATH/dsb2018
"""

from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import KiUNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment; one patch a step and one window at a time, for the Ki branch is large."""
    return Experiment(
        recipe=Supervised(
            model=KiUNet(num_classes=2),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=Adam(learning_rate=1e-3),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(dataset=DSB2018(), root="data/dsb2018", patch=(128, 128)),
        steps=40_000,
        batch_size=1,
        evaluation=Evaluation(
            every=2_000, window=(128, 128), window_batch=1, metrics=("iou", "dice")
        ),
        checkpoint=Checkpoints(every=2_000, best="iou"),
    )
