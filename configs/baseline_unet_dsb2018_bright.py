"""BioImage.IO's U-Net of fluorescent nuclei, fine-tuned on stained tissue, where nuclei are dark.

Data      The Data Science Bowl 2018 on a bright ground: of 107 stained images 86 train, as luma,
          and 21, cut from the same slides, validate; 16 grey ones of 1024 x 1024 are the test.
Reached   IoU of nuclei on the validation images 0.727 after 400 steps of 8 patches (of the released
          weights, which see dark nuclei as ground, 0.005), but 0.073 on the test: another stain is
          another domain. 22 minutes on two CPU cores beside other work, jax 0.10.2.
Command   python -m jaxseg.train --config configs/baseline_unet_dsb2018_bright.py \
              --workdir runs/nuclei_bright data.root=PATH/dsb2018
          python -m jaxseg.evaluate --workdir runs/nuclei_bright --split test
          after the import of configs/baseline_unet_dsb2018_released.py in runs/nuclei_released
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.augment import Augment
from jaxseg.data import DSB2018
from jaxseg.experiment import Experiment
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.optimizers import AdamW, Cosine
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    base = config.read(Path(__file__).parent / "baseline_unet_dsb2018_released.py")
    return dataclasses.replace(
        base,
        recipe=Supervised(
            model=base.recipe.model,
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=AdamW(learning_rate=Cosine(peak=1e-3, warmup=20), weight_decay=1e-4),
            augment=Augment(flip=0.5, transpose=0.5, scale=(0.7, 1.4), contrast=(0.7, 1.3)),
        ),
        data=dataclasses.replace(base.data, dataset=DSB2018(background="bright", channels=1)),
        init_from={"model": "runs/nuclei_released"},
        steps=400,
        evaluation=dataclasses.replace(base.evaluation, every=100),
        checkpoint=dataclasses.replace(base.checkpoint, every=100),
    )
