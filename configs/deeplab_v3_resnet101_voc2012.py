"""DeepLab v3 with ResNet-101 at output stride 16 on Pascal VOC 2012 with SBD's masks.

Paper     Chen et al. 2017, https://arxiv.org/abs/1706.05587 (recalled where not in the authors'
          code): SGD with momentum 0.9 at 0.007, poly 0.9, weight decay 1e-4, 16 crops of 513 a
          batch, 30,000 steps, flips, scales 0.5 to 2; multi-grid (1, 2, 4); logits are enlarged,
          labels never reduced; the encoder from ImageNet weights. 77.21 IoU on the validation
          images at output stride 16, 78.51 at 8, 79.77 with scales and flips (recalled). It then
          trains at output stride 8: configs/deeplab_v3_resnet101_voc2012_stride8.py.
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/deeplab_v3_resnet101_voc2012.py \
              --workdir runs/deeplab_v3_resnet101_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import DeepLabV3
from jaxseg.optimizers import SGD, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=DeepLabV3(
                num_classes=21,
                encoder=ResNet(101, stem="deep", output_stride=16, multi_grid=(1, 2, 4)),
            ),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.007), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(513, 513)),
        steps=30_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(513, 513), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
