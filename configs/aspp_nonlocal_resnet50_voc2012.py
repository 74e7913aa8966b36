"""The head of Parsing R-CNN on a ResNet-50 and a pyramid, on Pascal VOC 2012 with SBD's masks.

Paper     Yang et al. 2019, https://arxiv.org/abs/1811.12596, by its authors' code: persons of CIHP
          and MHP v2.0 in 32 x 32 bins, SGD at 0.02 with momentum 0.9, weight decay 1e-4, 16 images
          a batch, 24,000 steps and more. Recalled, not checked: on CIHP the head raises the mean
          IoU of parts from 50.7 to 53.5. Here images are segmented as a whole, and the schedule is
          poly, so that none of its numbers can be compared.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/aspp_nonlocal_resnet50_voc2012.py \
              --workdir runs/aspp_nonlocal_resnet50_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import ASPPNonLocal
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=ASPPNonLocal(num_classes=21),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.02), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(512, 512)),
        steps=24_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(512, 512), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
