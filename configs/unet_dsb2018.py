"""U-Net on the nuclei of the Data Science Bowl 2018.

Data      664 images of 9 sizes, fluorescence and stained tissue, always three channels; split by
          groups of size and background, since fields of view repeat. Classes background, nucleus.
          Each image is z-scored: the groups' intensities differ tenfold. A small U-Net reached a
          validation mean Dice of 0.950 after 200 steps (`python -m benchmarks.variants --dsb2018
          PATH/dsb2018 --only unet --output F`), and of 0.565 with normalize=Unit() here.
Reached   not trained to its end yet: three steps and an evaluation were run on two CPU cores.
Command   python -m jaxseg.train --config configs/unet_dsb2018.py --workdir runs/unet_dsb2018 \
              data.root=PATH/dsb2018
"""

from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data, ZScore
from jaxseg.encoders import Plain
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.models import UNet
from jaxseg.optimizers import AdamW, Cosine
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=UNet(num_classes=2, encoder=Plain(widths=(32, 64, 128, 256, 512))),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=AdamW(learning_rate=Cosine(peak=1e-3, warmup=100), weight_decay=1e-4),
            augment=Augment(
                flip=0.5,
                transpose=0.5,
                rotate=45.0,
                scale=(0.7, 1.4),
                contrast=(0.7, 1.3),
                gamma=(0.7, 1.5),
                blur=1.0,
                noise=0.03,
            ),  # fmt: skip
        ),
        data=Data(
            dataset=DSB2018(),
            root="data/dsb2018",
            patch=(256, 256),
            foreground=0.5,
            normalize=ZScore(),
        ),
        steps=5_000,
        batch_size=8,
        evaluation=Evaluation(every=500, window=(256, 256)),
        checkpoint=Checkpoints(every=500),
    )
