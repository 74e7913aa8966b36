"""FC-DenseNet103 on CamVid's road scenes, from scratch.

Paper     Jégou et al. 2017, https://arxiv.org/abs/1611.09326, with the numbers of the released
          configuration: RMSprop at 1e-3, times 0.995 an epoch, L2 of 1e-4 in the loss, at most 750
          epochs of batches of 3, stopped after 150 without a better IoU, crops of 224 x 224,
          horizontal flips, dropout 0.2; then the same on whole images at 1e-4. Norms take the
          statistics of the batch in evaluation too.
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored.
Reports   mean IoU 66.9, accuracy 91.5 on the test split
Reached   not run yet
Command   python -m jaxseg.train --config configs/fc_densenet103_camvid.py \
              --workdir runs/fc_densenet103_camvid data.root=PATH/camvid
"""

from jaxseg.augment import Augment
from jaxseg.data import CamVid, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import FCDenseNet
from jaxseg.optimizers import Exponential, RMSprop
from jaxseg.recipes import Supervised

EPOCH = 122
"""Steps in which every training image is seen once."""


def experiment() -> Experiment:
    """The experiment; windows are the whole image, one at a time."""
    return Experiment(
        recipe=Supervised(
            model=FCDenseNet(num_classes=11, statistics="batch"),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=RMSprop(
                Exponential(1e-3, decay=0.995, every=EPOCH), decay=0.9, weight_decay=1e-4
            ),
            augment=Augment(flip=(0.0, 0.5)),
        ),
        data=Data(dataset=CamVid(), root="data/camvid", patch=(224, 224)),
        steps=750 * EPOCH,
        batch_size=3,
        evaluation=Evaluation(
            every=5 * EPOCH, metrics=("iou", "accuracy"), window_batch=1, patience=30
        ),
        checkpoint=Checkpoints(every=5 * EPOCH, best="iou"),
    )
