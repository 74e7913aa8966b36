"""MA-Net with a ResNet-34 on nuclei.

Paper     Fan et al. 2020, https://doi.org/10.1109/ACCESS.2020.3025372, on livers and tumours of
          LiTS 2017, which is not a data set here: Dice 0.960 and 0.749 (recalled, not checked). Its
          recipe is not known to us; what stands here is that of UNet++ on these images.
Data      664 images, split by groups of size and background. Classes background, nucleus.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/manet_resnet34_dsb2018.py \
              --workdir runs/manet_resnet34_dsb2018 data.root=PATH/dsb2018
"""

from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import Hybrid
from jaxseg.models import MANet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=MANet(num_classes=2, encoder=ResNet(34)),
            losses={"hybrid": Hybrid()},
            optimizer=Adam(learning_rate=3e-4),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(dataset=DSB2018(), root="data/dsb2018", patch=(96, 96), foreground=0.5),
        steps=20_000,
        batch_size=32,
        evaluation=Evaluation(every=200, window=(256, 256), metrics=("iou", "dice"), patience=30),
        checkpoint=Checkpoints(every=200, best="iou"),
    )
