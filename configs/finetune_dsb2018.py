"""The quickstart's U-Net, trained on generated nuclei, fine-tuned on the real ones of the DSB 2018.

Data      664 images, split by groups of size and background, three channels: the first kernel of
          the quickstart, of one channel, is repeated for each and divided by three.
Reached   validation mean Dice 0.632 (background 0.873, nucleus 0.390) after 100 steps of 8 patches;
          the same with init_from="{}" recipe.rates="()": 0.487 (nucleus 0.127). 148 and 168 s on
          two CPU cores, jax 0.10.2, beside other work. No more than a show of the way: see
          configs/unet_dsb2018.py for a network that is trained to its end.
Command   python -m jaxseg.train --config configs/finetune_dsb2018.py \
              --workdir runs/finetune_dsb2018 data.root=PATH/dsb2018
          after configs/quickstart.py in runs/quickstart
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment, InitFrom
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.optimizers import AdamW, Cosine
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment: 100 short steps, at a tenth of the rate for the encoder."""
    base = config.read(Path(__file__).parent / "quickstart.py")
    return dataclasses.replace(
        base,
        recipe=Supervised(
            model=base.recipe.model,
            losses={"cross_entropy": CrossEntropy(), "dice": Dice()},
            optimizer=AdamW(learning_rate=Cosine(peak=1e-3, warmup=10), weight_decay=1e-4),
            augment=Augment(flip=0.5, transpose=0.5, contrast=(0.7, 1.3)),
            rates=(("encoder", 0.1),),
        ),
        data=Data(dataset=DSB2018(), root="data/dsb2018", patch=(128, 128), foreground=0.5),
        init_from={"model": InitFrom(run="runs/quickstart", channels="mean")},
        steps=100,
        evaluation=Evaluation(every=50, window=(256, 256)),
        checkpoint=Checkpoints(every=50),
    )
