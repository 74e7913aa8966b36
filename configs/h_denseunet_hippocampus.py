"""H-DenseUNet on the hippocampus of the Medical Segmentation Decathlon: we have no livers.

Paper     Li et al. 2018, https://arxiv.org/abs/1709.07330, on the liver tumours of LiTS, by its
          authors' code: SGD at 1e-3 with Nesterov's momentum 0.9, batch 1, volumes of 224 x 224 x
          8, CT values less 48, scales 0.8 to 1.2, flips and turns within slices; cross entropy on
          slices 2 to 7, classes weighted 0.78, 0.65 and 8.57; three stages: the 2-D part from
          ImageNet weights, the 3-D part with it frozen, both. Recalled, not checked: Dice by case
          96.1 of livers and 72.2 of tumours. Here images are z-scored, so gain is 1; classes weigh
          the same; all slices count; the first stage is left out, for the volumes are no images.
Data      MSD Task04, 260 MR volumes of about 35 x 50 x 35 voxels of 1 mm; z-scored one by one;
          fold 0 of the five of nnU-Net. Classes background, anterior, posterior.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/h_denseunet_hippocampus.py \
              --workdir runs/h_denseunet_hippocampus data.root=PATH/hippocampus
          A run of a 2-D part, a `DenseUNet` of three channels (`skips="none" norms="released"`),
          starts the second stage with `init_from.model="InitFrom(run='RUN', into='plane')"` and
          `recipe.rates="(('plane', 0.0),)"`; the third is `init_from.model=` that run, no rates.
"""

from jaxseg.augment import Augment
from jaxseg.data import Data, Hippocampus, ZScore
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import HDenseUNet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=HDenseUNet(num_classes=3, gain=1.0),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=1e-3), nesterov=True),
            augment=Augment(flip=0.5),
        ),
        data=Data(
            dataset=Hippocampus(),
            root="data/hippocampus",
            patch=(32, 32, 8),
            foreground=0.5,
            normalize=ZScore(),
        ),
        steps=20_000,
        batch_size=4,
        evaluation=Evaluation(every=1_000, window=(32, 32, 8)),
        checkpoint=Checkpoints(every=1_000),
    )
