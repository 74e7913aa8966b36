"""DeepLab v2 on ResNet-101 with three scales of the image, Pascal VOC 2012 with SBD's masks.

Paper     Chen et al. 2018, https://arxiv.org/abs/1606.00915, numbers of the community's port
          (kazuto1011/deeplab-pytorch): SGD with momentum 0.9 and weight decay 5e-4, 10 crops of 321
          a batch, 20,000 steps at a rate of 2.5e-4, poly 0.9, ASPP at ten times the rate and its
          biases at twenty (here those of norms at twice theirs, too), scales 0.5 to 1.5, mirroring;
          a loss for each scale of the image and for their maximum, on labels at every eighth pixel
          (here the maximum's on all); norms keep the statistics of the weights that it starts from,
          which are COCO's (here random ones, and norms follow the batch, until another run gives
          those).
          Images are blue, green, red to 255, less their mean: ``standardize``.
Reports   mean IoU 76.35 on the validation images, 77.69 after a fully connected CRF
Reached   not run yet
Command   python -m jaxseg.train --config configs/deeplab_v2_resnet101_voc2012.py \
              --workdir runs/deeplab_v2_resnet101_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import ResNet, Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, DeepSupervision
from jaxseg.models import DeepLabV2
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised

CAFFE = Standardize(mean=(104.008, 116.669, 122.675), std=(1.0, 1.0, 1.0), scale=255.0, order="bgr")


def experiment() -> Experiment:
    """The experiment; the four losses are those of the maximum and of scales 1, 0.75 and 0.5."""
    encoder = ResNet(101, strided="1x1", output_stride=8, pool="ceil", standardize=CAFFE)
    return Experiment(
        recipe=Supervised(
            model=DeepLabV2(num_classes=21, encoder=encoder),
            losses={"cross_entropy": CrossEntropy()},
            supervision=DeepSupervision(weights=(1.0, 1.0, 1.0, 1.0), normalise=False),
            optimizer=SGD(learning_rate=Poly(peak=2.5e-4), weight_decay=5e-4),
            rates=(("aspp", 10.0), ("*/bias", 2.0)),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 1.5)),
        ),
        data=Data(
            dataset=VOC2012(train="trainaug"), root="data/VOCdevkit/VOC2012", patch=(321, 321)
        ),
        steps=20_000,
        batch_size=10,
        evaluation=Evaluation(every=1000, window=(513, 513), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
