"""Backbones: ``encoder(image, train=...)`` gives a tuple of features, finest first.

``encoder.strides`` says how much smaller than the image each is; ``encoder.standardize`` what its
weights expect of the image, applied inside.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxseg.encoders.plain import Plain
from jaxseg.encoders.resnet import ResNet
from jaxseg.encoders.standardize import Standardize
from jaxseg.errors import unknown

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
}

__all__ = ["ENCODERS", "Plain", "ResNet", "Standardize", "create"]


def create(name: str, **fields: Any) -> nn.Module:
    """The encoder of that name; UserError names the nearest where there is none."""
    if name not in ENCODERS:
        raise unknown("no encoder is called", name, ENCODERS)
    return ENCODERS[name](**fields)
