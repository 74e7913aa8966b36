"""Backbones: ``encoder(image, train=...)`` gives a tuple of features, finest first.

``encoder.strides`` says how much smaller than the image each is.
"""

import difflib
import functools
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn

from jaxseg.encoders.plain import Plain
from jaxseg.encoders.resnet import ResNet
from jaxseg.errors import UserError

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "plain": Plain,
    "resnet18": functools.partial(ResNet, depth=18),
    "resnet34": functools.partial(ResNet, depth=34),
    "resnet50": functools.partial(ResNet, depth=50),
    "resnet101": functools.partial(ResNet, depth=101),
    "resnet152": functools.partial(ResNet, depth=152),
}

__all__ = ["ENCODERS", "Plain", "ResNet", "create", "known"]


def create(name: str, **fields: Any) -> nn.Module:
    """The encoder of that name; UserError names the nearest where there is none."""
    return ENCODERS[known(name, ENCODERS, "encoder")](**fields)


def known(name: str, names: Iterable[str], what: str) -> str:
    """``name``, if it is one of ``names``; else UserError with the nearest."""
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
    raise UserError(f"no {what} is called {name!r}; the nearest is {near!r}")
