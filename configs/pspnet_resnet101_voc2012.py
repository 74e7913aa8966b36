"""PSPNet with a dilated ResNet-101 on Pascal VOC 2012 with SBD's masks.

Paper     Zhao et al. 2017, https://arxiv.org/abs/1612.01105, by its authors' code (semseg): SGD at
          0.01 with momentum 0.9, poly 0.9, weight decay 1e-4, ten times the rate for all but the
          encoder (here the encoder has a tenth), 16 crops of 473 a batch, 50 epochs, norms over
          all devices; flips, scales 0.5 to 2, rotation by 10 degrees, Gaussian blur; cross
          entropy, that of the auxiliary head times 0.4; the encoder from ImageNet weights.
          79.07 IoU on the validation images at one scale (semseg); 82.6 on the test images
          (recalled, not checked), 85.41 with COCO.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/pspnet_resnet101_voc2012.py \
              --workdir runs/pspnet_resnet101_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy, DeepSupervision
from jaxseg.models.pspnet import PSPNet
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=PSPNet(num_classes=21, encoder=ResNet(101, stem="deep", output_stride=8)),
            losses={"cross_entropy": CrossEntropy()},
            supervision=DeepSupervision(weights=(1.0, 0.4), normalise=False),
            optimizer=SGD(learning_rate=Poly(peak=0.1), weight_decay=1e-4),
            rates=(("encoder", 0.1),),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0), rotate=10.0, blur=1.0),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(473, 473)),
        steps=33_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(473, 473), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
