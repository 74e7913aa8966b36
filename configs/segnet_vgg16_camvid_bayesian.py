"""Bayesian SegNet on CamVid's road scenes: SegNet's recipe with dropout, and samples of it.

Paper     Kendall, Badrinarayanan, Cipolla 2015, https://arxiv.org/abs/1511.02680: trained as
          SegNet (configs/segnet_vgg16_camvid.py), with dropout of one half after the three
          coarsest levels of either side; what is predicted is the mean of 50 samples (recalled,
          not checked).
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored.
Reports   mean IoU 63.1, accuracy 86.9 on the test split, as FC-DenseNet's table 3 quotes it
Reached   not run yet
Command   python -m jaxseg.train --config configs/segnet_vgg16_camvid_bayesian.py \
              --workdir runs/segnet_vgg16_camvid_bayesian data.root=PATH/camvid
          python -m jaxseg.evaluate --workdir runs/segnet_vgg16_camvid_bayesian --split test \
              evaluation.dropout_samples=50
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
    """The experiment; on the way, the network is scored without samples."""
    return Experiment(
        recipe=Supervised(
            model=SegNet(num_classes=11, dropout=0.5, standardize=TO_255),
            losses={"cross_entropy": CrossEntropy(class_weights=CLASS_WEIGHTS)},
            optimizer=SGD(learning_rate=1e-3, momentum=0.9, weight_decay=5e-4),
        ),
        data=Data(dataset=CamVid(), root="data/camvid"),
        steps=40_000,
        batch_size=4,
        evaluation=Evaluation(every=1000, metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
