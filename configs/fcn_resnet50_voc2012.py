"""FCN on a dilated ResNet-50, by torchvision's recipe, on Pascal VOC 2012.

Paper     Long, Shelhamer, Darrell 2015, https://arxiv.org/abs/1411.4038; network and recipe are
          torchvision's (references/segmentation): SGD with momentum 0.9, a rate of 0.02 that falls
          with the power 0.9, weight decay 1e-4, 30 epochs of batches of 32, the auxiliary head's
          loss by 0.5 and its rate tenfold; zoom of 0.5 to 2, flips, crops of 480; from ImageNet's
          weights (here from random ones, until another run gives those).
Reports   mean IoU 60.5, accuracy 91.4, trained and scored on COCO 2017's images of these classes
Reached   not run yet
Command   python -m jaxseg.train --config configs/fcn_resnet50_voc2012.py \
              --workdir runs/fcn_resnet50_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import ResNet, Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, DeepSupervision
from jaxseg.models import FCN
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised

IMAGENET = Standardize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def experiment() -> Experiment:
    """The experiment."""
    encoder = ResNet(50, output_stride=8, dilated="after_first", standardize=IMAGENET)
    return Experiment(
        recipe=Supervised(
            model=FCN(num_classes=21, encoder=encoder, auxiliary="head"),
            losses={"cross_entropy": CrossEntropy()},
            supervision=DeepSupervision(weights=(1.0, 0.5), normalise=False),
            optimizer=SGD(learning_rate=Poly(peak=0.02), momentum=0.9, weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
            rates=(("auxiliary_conv", 10.0), ("auxiliary_head", 10.0)),
        ),
        data=Data(
            dataset=VOC2012(train="trainaug"), root="data/VOCdevkit/VOC2012", patch=(480, 480)
        ),
        steps=9_900,
        batch_size=32,
        evaluation=Evaluation(every=990, metrics=("iou", "accuracy"), window_batch=1),
        checkpoint=Checkpoints(every=990, best="iou"),
    )
