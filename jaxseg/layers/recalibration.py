"""A block that weighs what another block of a network puts out, such as `ConcurrentExcitation`."""

import inspect

import flax.linen as nn
from jaxtyping import Array, Float


def recalibrated(
    block: nn.Module | None, x: Float[Array, "b *s c"], name: str, *, train: bool
) -> Float[Array, "b *s c"]:
    """``x`` weighed by a copy of ``block``, a submodule of the caller called ``name``.

    ``block`` keeps size and channels, and need not know about training: `SqueezeExcitation`,
    `SpatialExcitation`, `ConcurrentExcitation`, `CBAM`, or one's own. With None, ``x`` itself.
    """
    if block is None:
        return x
    copy = block.copy(name=name)
    knows = "train" in inspect.signature(type(block).__call__).parameters
    y: Array = copy(x, train=train) if knows else copy(x)  # pyright: ignore[reportCallIssue]
    return y
