"""UNet 3+ on the nuclei of DSB2018: no livers are among our data sets.

Paper     Huang et al. 2020, https://arxiv.org/abs/2004.08790, on the livers of LiTS and on spleens,
          slices of 320 x 320. Recalled, not checked: SGD, each side output with the sum of focal
          loss, MS-SSIM and IoU losses; Dice 0.960 of livers on VGG16 with all parts, 0.955 without
          deep supervision and classification. Here there is no MS-SSIM, and no classification:
          every image has nuclei.
Data      664 images, split by groups of size and background. Classes background, nucleus.
          Each image is z-scored (see configs/unet_dsb2018.py).
Reached   not run yet.
Command   python -m jaxseg.train --config configs/unet_3plus_dsb2018.py \
              --workdir runs/unet_3plus_dsb2018 data.root=PATH/dsb2018
"""

from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import DeepSupervision, Focal, Jaccard
from jaxseg.models import UNet3Plus
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=UNet3Plus(num_classes=2),
            losses={"focal": Focal(), "iou": Jaccard()},
            supervision=DeepSupervision(weights=(1.0,) * 5),
            optimizer=SGD(learning_rate=Poly(peak=1e-2)),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(
            dataset=DSB2018(),
            root="data/dsb2018",
            patch=(256, 256),
            foreground=0.5,
            normalize=ZScore(),
        ),
        steps=10_000,
        batch_size=8,
        evaluation=Evaluation(every=200, window=(256, 256), metrics=("iou", "dice")),
        checkpoint=Checkpoints(every=200, best="iou"),
    )
