"""timm's classifiers: for each of its models, the encoder and head that compute the same here.

``pretrained``, ``drop_rate`` and the like say nothing about what a trained network computes; of
them the two that every script gives are taken.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxseg.convert.built import CENTRED, IMAGENET, Builder, Built, same
from jaxseg.encoders import (
    ENCODERS,
    AlignedXception,
    EfficientNetLite,
    ResNet,
    Standardize,
    Xception,
    classifier,
)
from jaxseg.encoders.efficientnet_lite import LITE, scaled

WHOLE = " (as a feature extractor only ResNets are here: other encoders' first features differ)"


def _classifier(
    encoder: Any,
    *,
    num_classes: int = 1000,
    in_chans: int = 3,
    output_stride: int = 32,
    features_only: bool = False,
    pretrained: bool = False,
    drop_rate: float | int = 0.0,
) -> Built:
    """``create_model``: without classes the encoder alone, whose last feature timm averages."""
    resnet = isinstance(encoder, ResNet)
    dilatable = resnet and encoder.depth >= 50  # a basic block is dilated by halves there
    strides = (8, 16, 32) if dilatable else (32,)
    same("output_stride", output_stride, *strides)
    same("features_only", features_only, *((True, False) if resnet else (False,)), hint=WHOLE)
    if output_stride != 32:
        encoder = encoder.clone(output_stride=output_stride, dilated="after_first")
    standardize = _expected(encoder) if in_chans == 3 else None
    if features_only or num_classes == 0:
        return Built(encoder, in_chans, standardize=standardize)
    model = classifier(encoder, num_classes, library="timm").clone(dropout=float(drop_rate))
    return Built(model, in_chans, standardize=standardize)


def _expected(encoder: nn.Module) -> Standardize:
    """What timm's ImageNet weights expect: TensorFlow's of the networks that come from there."""
    tensorflow = isinstance(encoder, EfficientNetLite) and encoder.form == "tensorflow"
    centred = tensorflow or isinstance(encoder, Xception | AlignedXception)
    return CENTRED if centred else IMAGENET


def _resnext(groups: int, base_width: int) -> nn.Module:
    return ResNet(101, groups=groups, base_width=base_width)


_SAME_NAME = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"),
    *("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("xception41", "xception65", "xception71"),
)

_ENCODERS: Mapping[str, nn.Module] = {
    **{name: ENCODERS[name]() for name in _SAME_NAME},
    "resnext101_32x4d": _resnext(32, 4),
    "resnext101_32x16d": _resnext(32, 16),
    "resnext101_32x32d": _resnext(32, 32),
    "resnext101_64x4d": _resnext(64, 4),
    "legacy_xception": Xception(stem="valid"),
    "mobilenetv2_100": ENCODERS["mobilenet_v2"](),
    **{f"tf_efficientnet_lite{n}": EfficientNetLite(scaled(*by)) for n, by in LITE.items()},
    **{
        f"efficientnet_lite{n}": EfficientNetLite(scaled(*by), form="pytorch")
        for n, by in LITE.items()
    },
}

MODELS: Mapping[str, Builder] = {
    name: functools.partial(_classifier, encoder) for name, encoder in _ENCODERS.items()
}
"""By the name that ``timm.create_model`` is given."""
