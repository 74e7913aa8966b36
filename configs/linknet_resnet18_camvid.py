"""LinkNet with a ResNet-18 encoder on CamVid's road scenes.

Paper     Chaurasia, Culurciello 2017, https://arxiv.org/abs/1707.03718. Recalled, not checked:
          RMSprop at 5e-4, images of 768 x 576, class weights of ENet,
          1 / log(1.02 + frequency); cross entropy; the encoder from ImageNet weights; 68.3 IoU
          on CamVid's test images.
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored
          and never predicted.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/linknet_resnet18_camvid.py \
              --workdir runs/linknet_resnet18_camvid data.root=PATH/camvid
"""

from jaxseg.augment import Augment
from jaxseg.data import CamVid, Data
from jaxseg.encoders import ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models.linknet import LinkNet
from jaxseg.optimizers import RMSprop
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=LinkNet(num_classes=11, encoder=ResNet(18)),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=RMSprop(learning_rate=5e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.75, 1.5)),
        ),
        data=Data(dataset=CamVid(), root="data/camvid", patch=(352, 480)),
        steps=20_000,
        batch_size=10,
        evaluation=Evaluation(every=1000, metrics=("iou", "dice", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
