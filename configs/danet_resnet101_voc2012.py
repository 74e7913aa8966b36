"""DANet with a dilated ResNet-101 on Pascal VOC 2012 with SBD's masks.

Paper     Fu et al. 2019, https://arxiv.org/abs/1809.02983 (recalled, not checked, but for the
          released options): SGD with momentum 0.9, poly 0.9, weight decay 1e-4, 16 crops of 768 of
          Cityscapes a batch, 180 epochs; of VOC the released rate is 0.002 for 16 crops of 576, 50
          epochs; flips, scales 0.5 to 2; cross entropy of the sum and of both branches, each
          times 1; the encoder from ImageNet weights. 82.6 IoU on the test images of VOC 2012,
          81.5 on those of Cityscapes.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/danet_resnet101_voc2012.py \
              --workdir runs/danet_resnet101_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, DeepSupervision
from jaxseg.models import DANet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=DANet(num_classes=21),
            losses={"cross_entropy": CrossEntropy()},
            supervision=DeepSupervision(weights=(1.0, 1.0, 1.0), normalise=False),
            optimizer=SGD(learning_rate=Poly(peak=0.002), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(576, 576)),
        steps=33_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(576, 576), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
