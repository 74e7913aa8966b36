"""BioImage.IO's U-Net of fluorescent nuclei as it was released, on the dark images of DSB 2018.

Weights   https://bioimage.io, a U-Net of 449,489 parameters with bilinear up-sampling and one ReLU
          after two convolutions; this config says how they are evaluated.
Data      541 grey images of the Data Science Bowl 2018 on a dark ground, z-scored each, in windows
          of 512 x 512. They are split by groups of size; the weights have seen many of them.
Reached   IoU of nuclei, all pixels of a split together: 0.927 validation, 0.850 test, 0.505 train
          (images of 256 x 256, and six of 603 x 1272 where it finds far too much); 0.157 mean IoU
          on the 16 grey images of the test on a bright ground, where every nucleus is missed.
Command   python -m jaxseg.import_torch --library bioimage.io --arch UNet2d \
              --input PATH/unet2d_nuclei.safetensors \
              --config configs/baseline_unet_dsb2018_released.py --workdir runs/nuclei_released
          python -m jaxseg.evaluate --workdir runs/nuclei_released --split validation \
              data.root=PATH/dsb2018
"""

from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.models import BaselineUNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=BaselineUNet(2, widths=(16, 32, 64, 128), form="bioimage", head_bias=True),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=Adam(learning_rate=1e-4),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(
            dataset=DSB2018(background="dark", channels=1),
            root="data/dsb2018",
            patch=(128, 128),
            normalize=ZScore(),
        ),
        steps=1,
        batch_size=8,
        evaluation=Evaluation(window=(512, 512), metrics=("iou", "dice")),
        checkpoint=Checkpoints(best="iou"),
    )
