"""Backbones: ``encoder(image, train=...)`` gives a tuple of features, finest first.

``encoder.strides`` says how much smaller than the image each is; ``encoder.standardize`` what its
weights expect of the image, applied inside. Ours take ``count``: that many of the finest features,
without the parameters of the others, as a pruned network needs them (`finest`).
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxseg.encoders.alexnet import AlexNet
from jaxseg.encoders.classifier import Classifier, classifier
from jaxseg.encoders.cut import Cut
from jaxseg.encoders.densenet import DenseNet
from jaxseg.encoders.efficientnet_lite import EfficientNetLite
from jaxseg.encoders.espnet import ESPNetC
from jaxseg.encoders.finest import finest
from jaxseg.encoders.mit import MiT
from jaxseg.encoders.mobilenet_v2 import MobileNetV2
from jaxseg.encoders.mobilenet_v3 import MobileNetV3
from jaxseg.encoders.plain import Plain
from jaxseg.encoders.resnet import ResNet
from jaxseg.encoders.standardize import Standardize
from jaxseg.encoders.vgg import VGG
from jaxseg.encoders.xception import Xception
from jaxseg.encoders.xception_aligned import ENTRY_71, AlignedXception
from jaxseg.errors import unknown
from jaxseg.fields import check, configurable

_MIT = (64, 128, 320, 512)

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "plain": Plain,
    "resnet18": functools.partial(ResNet, depth=18),
    "resnet34": functools.partial(ResNet, depth=34),
    "resnet50": functools.partial(ResNet, depth=50),
    "resnet101": functools.partial(ResNet, depth=101),
    "resnet152": functools.partial(ResNet, depth=152),
    "resnext50_32x4d": functools.partial(ResNet, depth=50, groups=32, base_width=4),
    "resnext101_32x8d": functools.partial(ResNet, depth=101, groups=32, base_width=8),
    "wide_resnet50_2": functools.partial(ResNet, depth=50, base_width=128),
    "wide_resnet101_2": functools.partial(ResNet, depth=101, base_width=128),
    "vgg11": functools.partial(VGG, depth=11),
    "vgg13": functools.partial(VGG, depth=13),
    "vgg16": functools.partial(VGG, depth=16),
    "vgg19": functools.partial(VGG, depth=19),
    "vgg11_bn": functools.partial(VGG, depth=11, norm="batch"),
    "vgg13_bn": functools.partial(VGG, depth=13, norm="batch"),
    "vgg16_bn": functools.partial(VGG, depth=16, norm="batch"),
    "vgg19_bn": functools.partial(VGG, depth=19, norm="batch"),
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v3_large": MobileNetV3,
    "efficientnet_lite0": EfficientNetLite,
    "espnet_c": ESPNetC,
    "mit_b0": MiT,
    "mit_b1": functools.partial(MiT, widths=_MIT),
    "mit_b2": functools.partial(MiT, widths=_MIT, blocks=(3, 4, 6, 3)),
    "mit_b3": functools.partial(MiT, widths=_MIT, blocks=(3, 4, 18, 3)),
    "mit_b4": functools.partial(MiT, widths=_MIT, blocks=(3, 8, 27, 3)),
    "mit_b5": functools.partial(MiT, widths=_MIT, blocks=(3, 6, 40, 3)),
    "densenet121": DenseNet,
    "densenet161": functools.partial(DenseNet, layers=(6, 12, 36, 24), growth=48, width=96),
    "densenet169": functools.partial(DenseNet, layers=(6, 12, 32, 32)),
    "densenet201": functools.partial(DenseNet, layers=(6, 12, 48, 32)),
    "xception": Xception,
    "xception41": functools.partial(AlignedXception, middle=8),
    "xception65": AlignedXception,
    "xception71": functools.partial(AlignedXception, entry=ENTRY_71),
    "alexnet": AlexNet,
    "caffenet": functools.partial(AlexNet, form="caffenet"),
}

__all__ = [
    "ENCODERS",
    "Classifier",
    "classifier",
    "VGG",
    "AlignedXception",
    "Xception",
    "MiT",
    "DenseNet",
    "AlexNet",
    "Cut",
    "EfficientNetLite",
    "ESPNetC",
    "MobileNetV2",
    "MobileNetV3",
    "Plain",
    "ResNet",
    "Standardize",
    "create",
    "finest",
]


def create(name: str, **fields: Any) -> nn.Module:
    """The encoder of that name.

    UserError names the nearest known encoder or field, or the value that a field cannot have.
    """
    if name not in ENCODERS:
        raise unknown("no encoder is called", name, ENCODERS)
    default = ENCODERS[name]()
    names = configurable(type(default))
    for field in fields:
        if field not in names:
            raise unknown(f"no field of {name} is called", field, names)
    encoder = default.clone(**fields)
    check(encoder, f"{name}.")
    return encoder
