"""3D U-Net, of a quarter of its width, on the hippocampus of the Medical Segmentation Decathlon.

Paper     Cicek et al. 2016, https://arxiv.org/abs/1606.06650, on confocal volumes of Xenopus
          kidneys: valid convolutions, weighted cross entropy in which voxels without a label weigh
          nothing; recalled, not checked: SGD over 70,000 steps, intersection over union 0.863.
          Here it is made to be trained on two CPU cores in minutes: 8 features at first and not 32,
          padded convolutions, AdamW, Dice beside the cross entropy, no deformation.
Data      MSD Task04, 260 MR volumes of about 35 x 50 x 35 voxels of 1 mm; z-scored one by one;
          fold 0 of the five of nnU-Net. Classes background, anterior, posterior.
Reached   fold 0: mean Dice of the foreground 0.866 (anterior 0.869, posterior 0.863; background
          0.994), 0.827 at step 150; 762 s of training on two cores of an Intel Xeon beside other
          work (13 min of the command, 361 s of CPU in all), jax 0.10.2, flax 0.12.8.
Command   python -m jaxseg.train --config configs/unet_3d_hippocampus.py \
              --workdir runs/unet_3d_hippocampus data.root=PATH/hippocampus
"""

from jaxseg.data import Data, Hippocampus, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.models import UNet3D
from jaxseg.optimizers import AdamW, Cosine
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=UNet3D(num_classes=3, width=8),
            losses={"cross_entropy": CrossEntropy(), "dice": Dice(classes="foreground")},
            optimizer=AdamW(learning_rate=Cosine(peak=3e-3, warmup=30), weight_decay=1e-4),
        ),
        data=Data(
            dataset=Hippocampus(),
            root="data/hippocampus",
            patch=(32, 48, 32),
            foreground=0.33,
            normalize=ZScore(),
        ),
        steps=300,
        batch_size=2,
        evaluation=Evaluation(every=150, window=(40, 56, 40)),
        checkpoint=Checkpoints(every=150),
    )
