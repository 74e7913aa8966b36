"""torchvision's networks: for each of its builders, what computes the same here.

``weights`` and ``progress`` say nothing about the network and are taken for that reason only.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxseg.convert.built import IMAGENET, Builder, Built
from jaxseg.encoders import ENCODERS, MobileNetV3, classifier
from jaxseg.models import FCN, LRASPP, DeepLabV3


def _classifier(
    encoder: nn.Module, *, num_classes: int = 1000, weights: Any = None, progress: bool = True
) -> Built:
    return Built(classifier(encoder, num_classes), standardize=IMAGENET)


_NAMES = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"),
    *("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("mobilenet_v2", "mobilenet_v3_large"),
)

CLASSIFIERS: Mapping[str, Builder] = {
    "alexnet": functools.partial(_classifier, ENCODERS["alexnet"](padding="paper")),
    **{name: functools.partial(_classifier, ENCODERS[name]()) for name in _NAMES},
}
"""Builders of ``torchvision.models``, by name."""


def _fcn(
    encoder: Any,
    *,
    num_classes: int = 21,
    aux_loss: bool | None = None,
    weights: Any = None,
    weights_backbone: Any = None,
    progress: bool = True,
) -> Built:
    model = FCN(num_classes, encoder=encoder, auxiliary="head" if aux_loss else "none")
    return Built(model, standardize=IMAGENET)


def _deeplab_v3(
    encoder: Any,
    *,
    num_classes: int = 21,
    aux_loss: bool | None = None,
    weights: Any = None,
    weights_backbone: Any = None,
    progress: bool = True,
) -> Built:
    return Built(
        DeepLabV3(
            num_classes,
            encoder=encoder,
            context_convs=1,
            # they are called 12, 24, 36 at whatever stride; ours are those at stride 16
            rates=(6, 12, 18) if encoder.strides[-1] == 8 else (12, 24, 36),
            order="torch",
            auxiliary="head" if aux_loss else "none",
            auxiliary_feature=-3 if isinstance(encoder, MobileNetV3) else -2,
            align_corners=False,
            dropout=0.5,
        ),
        standardize=IMAGENET,
    )


def _lraspp(
    *,
    num_classes: int = 21,
    weights: Any = None,
    weights_backbone: Any = None,
    progress: bool = True,
) -> Built:
    return Built(LRASPP(num_classes), standardize=IMAGENET)


def _dilated(name: str) -> nn.Module:
    return ENCODERS[name](output_stride=8, dilated="after_first")


SEGMENTATION: Mapping[str, Builder] = {
    "fcn_resnet50": functools.partial(_fcn, _dilated("resnet50")),
    "fcn_resnet101": functools.partial(_fcn, _dilated("resnet101")),
    "deeplabv3_resnet50": functools.partial(_deeplab_v3, _dilated("resnet50")),
    "deeplabv3_resnet101": functools.partial(_deeplab_v3, _dilated("resnet101")),
    "deeplabv3_mobilenet_v3_large": functools.partial(
        _deeplab_v3, MobileNetV3(output_stride=16, tap="first")
    ),
    "lraspp_mobilenet_v3_large": _lraspp,
}
"""Builders of ``torchvision.models.segmentation``, by name."""
