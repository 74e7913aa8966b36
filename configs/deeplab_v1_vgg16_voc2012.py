"""DeepLab-LargeFOV (v1) on VGG16, Pascal VOC 2012 with SBD's masks.

Paper     Chen et al. 2015, https://arxiv.org/abs/1412.7062 (recalled, not read): SGD with momentum
          0.9 and weight decay 5e-4, 20 crops of 321 a batch, 6,000 steps at a rate of 0.001 that
          falls to a tenth every 2,000, the classifier at ten times the rate, biases at twice
          theirs, mirroring, from VGG16's ImageNet weights (here from random ones, until another
          run gives those). Labels are taken at every eighth pixel (here all, of enlarged logits).
          Images are blue, green, red to 255, less their mean: ``standardize``.
Reports   mean IoU 67.64 on the validation images and 70.3 on the test images, both after a fully
          connected CRF (recalled)
Reached   not run yet
Command   python -m jaxseg.train --config configs/deeplab_v1_vgg16_voc2012.py \
              --workdir runs/deeplab_v1_vgg16_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import VGG, Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import DeepLabV1
from jaxseg.optimizers import SGD, Exponential
from jaxseg.recipes import Supervised

CAFFE = Standardize(mean=(104.008, 116.669, 122.675), std=(1.0, 1.0, 1.0), scale=255.0, order="bgr")


def experiment() -> Experiment:
    """The experiment."""
    encoder = VGG(16, output_stride=8, pool="ceil", pool_size=3, standardize=CAFFE)
    return Experiment(
        recipe=Supervised(
            model=DeepLabV1(num_classes=21, encoder=encoder),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(Exponential(0.001, decay=0.1, every=2000), weight_decay=5e-4),
            rates=(("head", 10.0), ("*/bias", 2.0)),
            augment=Augment(flip=(0.0, 0.5)),
        ),
        data=Data(
            dataset=VOC2012(train="trainaug"), root="data/VOCdevkit/VOC2012", patch=(321, 321)
        ),
        steps=6000,
        batch_size=20,
        evaluation=Evaluation(every=1000, window=(513, 513), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
