"""The finest features of an encoder, for networks that end before its last."""

import inspect
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError


def finest(
    encoder: nn.Module, image: Float[Array, "b *s c"], count: int, *, train: bool
) -> tuple[Float[Array, "b ..."], ...]:
    """The ``count`` finest features; what lies deeper has no parameters and costs nothing.

    UserError for an encoder that only gives all of them.
    """
    run: Any = encoder
    if count == len(run.strides):
        return run(image, train=train)
    if "count" not in inspect.signature(type(encoder).__call__).parameters:
        raise UserError(
            f"encoder {type(encoder).__name__} gives all of its {len(run.strides)} features or "
            f"none, so a network cannot end at {count} of them: it takes no argument 'count'"
        )
    return run(image, train=train, count=count)
