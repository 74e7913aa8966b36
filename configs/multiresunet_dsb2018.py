"""MultiResUNet on the nuclei of DSB2018.

Paper     Ibtehaz & Rahman 2020, https://arxiv.org/abs/1902.04049, on five other sets, fluorescence
          images of nuclei among them. Recalled, not checked: Adam as Keras has it (1e-3), binary
          cross entropy, 150 epochs, no augmentation, images resized to 256 x 256, five folds. Here
          patches are cut, as many pixels large, and two classes have a softmax.
Data      664 images, split by groups of size and background. Classes background, nucleus.
          Each image is z-scored (see configs/unet_dsb2018.py).
Reached   not run yet.
Command   python -m jaxseg.train --config configs/multiresunet_dsb2018.py \
              --workdir runs/multiresunet_dsb2018 data.root=PATH/dsb2018
"""

from jaxseg.data import DSB2018, Data, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import MultiResUNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=MultiResUNet(num_classes=2),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=Adam(learning_rate=1e-3),
        ),
        data=Data(dataset=DSB2018(), root="data/dsb2018", patch=(256, 256), normalize=ZScore()),
        steps=10_000,
        batch_size=8,
        evaluation=Evaluation(every=200, window=(256, 256), metrics=("iou", "dice")),
        checkpoint=Checkpoints(every=200, best="iou"),
    )
