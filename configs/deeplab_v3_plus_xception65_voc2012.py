"""DeepLab v3+ with the aligned Xception-65 on Pascal VOC 2012 with SBD's masks.

Paper     Chen et al. 2018, https://arxiv.org/abs/1802.02611, by its authors' code: SGD with
          momentum 0.9 at 0.007, poly 0.9, weight decay 4e-5, 16 crops of 513 a batch, flips,
          scales 0.5 to 2, output stride 16; the encoder from ImageNet and COCO weights. With these
          82.20 IoU on the validation images, 83.58 at output stride 8 with scales and flips
          (the authors' model zoo).
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/deeplab_v3_plus_xception65_voc2012.py \
              --workdir runs/deeplab_v3_plus_xception65_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import AlignedXception
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import DeepLabV3Plus
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=DeepLabV3Plus(num_classes=21, encoder=AlignedXception(output_stride=16)),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.007), weight_decay=4e-5),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(513, 513)),
        steps=30_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(513, 513), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
