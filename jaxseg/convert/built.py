"""What a peer's constructor makes, as a network of ours, and which arguments it may have."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from jaxseg.errors import UserError, unknown


class Built(NamedTuple):
    """The network of ours, and the images that the peer's arguments speak of."""

    model: nn.Module
    channels: int = 3
    rank: int = 2


Builder = Callable[..., Built]
"""Takes the arguments of the peer's constructor by name, with its defaults."""


def build(builder: Builder, arch: str, kwargs: Mapping[str, Any]) -> Built:
    """The builder's network. UserError names an argument that the peer does not take, or needs."""
    parameters = inspect.signature(builder).parameters
    for name in kwargs:
        if name not in parameters:
            raise unknown(f"{arch} takes no argument", name, parameters)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in kwargs:
            raise UserError(f"{arch}: argument {name!r} is missing")
    return builder(**kwargs)


def same(argument: str, value: Any, *has: Any, hint: str = "") -> None:
    """Refuse a value of a peer's argument that nothing of ours computes.

    ``has`` are those that ours computes; ``hint`` is added to the line.
    """
    if value not in has:
        known = " or ".join(repr(one) for one in has)
        raise UserError(f"{argument}={value!r}: must be {known}, which jaxseg has{hint}")
