"""DeepLab v3 at output stride 8, from the variables of a run at 16.

Paper     Chen et al. 2017, https://arxiv.org/abs/1706.05587, section 4: from there on 30,000 steps
          at 0.001 on VOC's own train and validation images ("trainval"), statistics of norms
          fixed; 85.7 IoU on the test server, whose labels are hidden (recalled). Here norms go on
          learning, and the scores of the validation split say nothing, since it is trained on.
Data      VOC 2012 "trainval", 2913 images; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/deeplab_v3_resnet101_voc2012_stride8.py \
              --workdir runs/deeplab_v3_resnet101_voc2012_stride8 data.root=PATH/VOCdevkit/VOC2012
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
                encoder=ResNet(101, stem="deep", output_stride=8, multi_grid=(1, 2, 4)),
            ),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=SGD(learning_rate=Poly(peak=0.001), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.5, 2.0)),
        ),
        data=Data(dataset=VOC2012(train="trainval"), root="data/VOC2012", patch=(513, 513)),
        steps=30_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(513, 513), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
        init_from={"model": "runs/deeplab_v3_resnet101_voc2012"},
    )
