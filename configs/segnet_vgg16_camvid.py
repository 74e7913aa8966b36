"""SegNet on CamVid's road scenes, as its released solver trains it.

Paper     Badrinarayanan, Kendall, Cipolla 2017, https://arxiv.org/abs/1511.00561, with the numbers
          of the authors' tutorial: SGD with momentum 0.9, a rate of 1e-3, weight decay 5e-4, 40,000
          steps of 4 whole images, cross entropy by class weights, no augmentation, from VGG16's
          ImageNet weights (here from random ones, until another run gives those).
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored.
Reports   mean IoU 46.4, accuracy 62.5 on the test split, as FC-DenseNet's table 3 quotes it
Reached   not run yet
Command   python -m jaxseg.train --config configs/segnet_vgg16_camvid.py \
              --workdir runs/segnet_vgg16_camvid data.root=PATH/camvid
"""

from jaxseg.data import CamVid, Data
from jaxseg.encoders import Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import SegNet
from jaxseg.optimizers import SGD
from jaxseg.recipes import Supervised

CLASS_WEIGHTS = (
    0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614,
)  # fmt: skip

TO_255 = Standardize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), scale=255.0, order="bgr")


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=SegNet(num_classes=11, standardize=TO_255),
            losses={"cross_entropy": CrossEntropy(class_weights=CLASS_WEIGHTS)},
            optimizer=SGD(learning_rate=1e-3, momentum=0.9, weight_decay=5e-4),
        ),
        data=Data(dataset=CamVid(), root="data/camvid"),
        steps=40_000,
        batch_size=4,
        evaluation=Evaluation(every=1000, metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
