"""UNet++ with deep supervision on nuclei: one network, pruned to L1, L2 or L3 after training.

Paper     Zhou, Siddiquee, Tajbakhsh, Liang 2020, https://arxiv.org/abs/1912.05074: Adam at 3e-4,
          early stopping after 30 epochs, batches of crops of 96 x 96, every head with the hybrid of
          cross entropy and Dice of equal weight. Its first version reports an IoU of 92.5 with deep
          supervision and 92.6 without, on a split image by image of 670 images (we remember these
          numbers, and have not checked them); ours splits by groups, which is harder.
Data      664 images, split by groups of size and background. Classes background, nucleus.
          Each image is z-scored (see configs/unet_dsb2018.py).
Reached   not run at this size. A quarter of the widths, 1,000 steps: IoU of the nuclei 0.704 (L4),
          0.694, 0.596, 0.727 (L1), pruned of one network, by `python -m benchmarks.pruning` on two
          CPU cores.
Command   python -m jaxseg.train --config configs/unet_plus_plus_dsb2018_embedded.py \
              --workdir runs/unet_plus_plus data.root=PATH/dsb2018
          python -m jaxseg.compress --workdir runs/unet_plus_plus --output runs/unet_plus_plus_l2 \
              --method level --level 2
          python -m benchmarks.pruning trains and prunes all levels, and makes the paper's table
"""

from jaxseg.augment import Augment
from jaxseg.data import DSB2018, Data, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import DeepSupervision, Hybrid
from jaxseg.models import UNetPlusPlus
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=UNetPlusPlus(num_classes=2, mode="ensemble"),
            losses={"hybrid": Hybrid()},
            supervision=DeepSupervision(weights=(1.0, 1.0, 1.0, 1.0), normalise=False),
            optimizer=Adam(learning_rate=3e-4),
            augment=Augment(flip=0.5, transpose=0.5),
        ),
        data=Data(
            dataset=DSB2018(),
            root="data/dsb2018",
            patch=(96, 96),
            foreground=0.5,
            normalize=ZScore(),
        ),
        steps=20_000,
        batch_size=32,
        evaluation=Evaluation(every=200, window=(256, 256), metrics=("iou", "dice"), patience=30),
        checkpoint=Checkpoints(every=200, best="iou"),
    )
