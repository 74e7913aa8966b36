"""DeconvNet on VGG16, on crops of Pascal VOC 2012.

Paper     Noh, Hong, Han 2015, https://arxiv.org/abs/1505.04366, with the numbers of the released
          solvers: SGD with momentum 0.9, a rate of 0.01 that falls to a tenth in steps (here as a
          power), weight decay 5e-4, the gradients of 8 batches added up; 20,000 steps on crops
          around single objects, then 40,000 on crops of object proposals, both of 224 x 224 (here
          40,000 of random crops); from VGG16's ImageNet weights (here from random ones). Its
          prediction is the maximum over proposals (here windows are averaged).
Reports   mean IoU 72.5 on the test split, in an ensemble with FCN-8s and a CRF
Reached   not run yet
Command   python -m jaxseg.train --config configs/deconvnet_vgg16_voc2012.py \
              --workdir runs/deconvnet_vgg16_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import DeconvNet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised

CAFFE = Standardize(mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), scale=255.0, order="bgr")


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=DeconvNet(num_classes=21, standardize=CAFFE),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.01), momentum=0.9, weight_decay=5e-4),
            augment=Augment(flip=(0.0, 0.5)),
        ),
        data=Data(
            dataset=VOC2012(train="trainaug"),
            root="data/VOCdevkit/VOC2012",
            patch=(224, 224),
            foreground=0.5,
        ),
        steps=40_000,
        batch_size=64,
        evaluation=Evaluation(every=2000, window=(224, 224), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=2000, best="iou"),
    )
