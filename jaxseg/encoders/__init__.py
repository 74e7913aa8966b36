"""Backbones: ``encoder(image, train=...)`` gives a tuple of features, finest first.

``encoder.strides`` says how much smaller than the image each is.
"""

import functools
from collections.abc import Callable

import flax.linen as nn

from jaxseg.encoders.plain import Plain
from jaxseg.encoders.resnet import ResNet

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "plain": Plain,
    "resnet18": functools.partial(ResNet, depth=18),
    "resnet34": functools.partial(ResNet, depth=34),
    "resnet50": functools.partial(ResNet, depth=50),
    "resnet101": functools.partial(ResNet, depth=101),
    "resnet152": functools.partial(ResNet, depth=152),
}

__all__ = ["ENCODERS", "Plain", "ResNet"]
