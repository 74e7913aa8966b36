"""U-Net on EfficientNet-Lite0 with its ImageNet weights, fine-tuned on CamVid's road scenes.

Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored
          and never predicted. Class weights by median frequency (facts of the training split).
Weights   timm's `tf_efficientnet_lite0`, which expect images in [-1, 1]; a tenth of the rate.
Reached   not trained to its end yet. After 300 steps of 6 patches of 192 x 192 (`python -m
          benchmarks.transfer`) mean IoU on validation and test 0.428 and 0.409, with the encoder
          frozen 0.403 and 0.382, from scratch 0.221 and 0.172; two CPU cores, jax 0.10.2.
Command   python -m jaxseg.train --config configs/unet_efficientnet_lite0_camvid.py \
              --workdir runs/unet_efficientnet_lite0_camvid data.root=PATH/camvid
          with PATH/tf_efficientnet_lite0.safetensors as init_from.model.run
"""

from jaxseg.augment import Augment
from jaxseg.data import CamVid, Data
from jaxseg.encoders import EfficientNetLite, Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment, InitFrom
from jaxseg.losses import CrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizers import AdamW, Cosine
from jaxseg.recipes import Supervised

MEDIAN_FREQUENCY = (
    0.2793, 0.2017, 4.7865, 0.149, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587,
)  # fmt: skip
STANDARDIZE = Standardize(mean=(0.5,) * 3, std=(0.5,) * 3)


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=UNet(num_classes=11, encoder=EfficientNetLite(standardize=STANDARDIZE)),
            losses={"cross_entropy": CrossEntropy(class_weights=MEDIAN_FREQUENCY)},
            optimizer=AdamW(learning_rate=Cosine(peak=1e-3, warmup=50), weight_decay=1e-4),
            augment=Augment(flip=(0.0, 0.5), scale=(0.75, 1.5), contrast=(0.8, 1.2)),
            rates=(("encoder", 0.1),),
        ),
        data=Data(dataset=CamVid(), root="data/camvid", patch=(224, 224)),
        init_from={
            "model": InitFrom(run="weights/tf_efficientnet_lite0.safetensors", into="encoder")
        },
        steps=500,
        batch_size=6,
        evaluation=Evaluation(every=100, metrics=("iou", "dice", "accuracy")),
        checkpoint=Checkpoints(every=100, best="iou"),
    )
