"""RefineNet with ResNet-101 on Pascal VOC 2012 with SBD's masks.

Paper     Lin et al. 2017, https://arxiv.org/abs/1611.06612, by its authors' code: SGD at 5e-4 with
          momentum 0.9, a tenth of it for the encoder, both lowered tenfold by hand (here once the
          run is resumed with a smaller ``learning_rate``), weight decay 5e-4, one crop of 400 a
          batch, flips, scales 0.7 to 1.3, the image enlarged by 1.2 before the network (here in
          the scales, 0.84 to 1.56), cross entropy; the encoder from ImageNet weights, its
          statistics frozen (not said here: a rate of 0 freezes its weights as well).
          82.4 IoU on the test images with COCO (recalled, not checked); 83.4 with ResNet-152; the
          community's port of the weights has 80.5 on the validation images at one scale.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/refinenet_resnet101_voc2012.py \
              --workdir runs/refinenet_resnet101_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import RefineNet
from jaxseg.optimizers import SGD, Constant
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=RefineNet(num_classes=21),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Constant(5e-4), weight_decay=5e-4),
            rates=(("encoder", 0.1),),
            augment=Augment(flip=(0.0, 0.5), scale=(0.84, 1.56)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(400, 400)),
        steps=300_000,
        batch_size=1,
        evaluation=Evaluation(every=10_000, window=(400, 400), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=10_000, best="iou"),
    )
