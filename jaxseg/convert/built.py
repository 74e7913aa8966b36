"""What a peer's constructor makes, as a network of ours, and which arguments it may have."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from jaxseg.data.grid import Grid
from jaxseg.data.normalize import Normalize
from jaxseg.encoders import Standardize
from jaxseg.errors import UserError, first_line, require, unknown
from jaxseg.fields import check, fits, misfit


class Images(NamedTuple):
    """What a network was trained on, where its library says it.

    ``axes`` are the network's among those of an image here (() are the same), ``window`` is a
    patch, along the axes of an image, as the spacing of ``grid`` is. ``notes`` name what was done
    to images and is not done here.
    """

    axes: tuple[int, ...] = ()
    normalize: Normalize | None = None
    window: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    grid: Grid | None = None


class Built(NamedTuple):
    """The network of ours, and the images that the peer's arguments speak of."""

    model: nn.Module
    channels: int = 3
    rank: int = 2
    standardize: Standardize | None = None
    """What the library's ImageNet weights expect of an image in [0, 1]."""
    images: Images = Images()


IMAGENET = Standardize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""The moments that torchvision's weights expect, and most others."""

CENTRED = Standardize(mean=(0.5,) * 3, std=(0.5,) * 3)
"""The moments that weights from TensorFlow expect: images in [-1, 1]."""

Builder = Callable[..., Built]
"""Takes the arguments of the peer's constructor by name, with its defaults."""


def build(builder: Builder, arch: str, kwargs: Mapping[str, Any]) -> Built:
    """The builder's network.

    UserError names an argument that the peer does not take, or needs, or that has a value of
    another kind.
    """
    parameters = inspect.signature(builder).parameters
    for name in kwargs:
        if name not in parameters:
            raise unknown(f"{arch} takes no argument", name, parameters)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in kwargs:
            raise UserError(f"{arch}: argument {name!r} is missing")
        hint = parameter.annotation
        if name in kwargs and hint is not parameter.empty and not fits(kwargs[name], hint):
            raise misfit(f"{arch}: {name}", kwargs[name], hint)
    try:
        built = builder(**kwargs)
    except (TypeError, ValueError) as error:  # a value of another kind further down
        raise UserError(f"{arch}: its arguments do not fit: {first_line(error)}") from error
    check(built.model, f"{arch}: ")
    classes = getattr(built.model, "num_classes", 1)
    require(classes >= 1, f"{arch}: num_classes", classes, "at least 1")
    require(built.channels >= 1, f"{arch}: in_channels", built.channels, "at least 1")
    return built


def same(argument: str, value: Any, *has: Any, hint: str = "") -> None:
    """Refuse a value of a peer's argument that nothing of ours computes.

    ``has`` are those that ours computes; ``hint`` is added to the line.
    """
    if value not in has:
        known = " or ".join(repr(one) for one in has)
        raise UserError(f"{argument}={value!r}: must be {known}, which jaxseg has{hint}")
