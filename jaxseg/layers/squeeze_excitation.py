"""Squeeze and excitation: channels, pixels or both weighted by what the whole map shows.

Hu, Shen, Sun 2018, https://arxiv.org/abs/1709.01507 (channels).
Roy, Navab, Wachinger 2018, https://arxiv.org/abs/1803.02579 (pixels, and both at once; journal
https://arxiv.org/abs/1808.08127).
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation, activated
from jaxseg.layers.conv import Conv
from jaxseg.ops import mean_over_space, spread


class SqueezeExcitation(nn.Module):
    """``x * gate(expand(activation(reduce(mean of x))))``: Hu's equations 2 to 4; Roy's cSE.

    ``width`` is that between ``reduce`` and ``expand``; None is ``c // reduction``: 16 of Hu et
    al., 2 of Roy et al. Both have biases, as in every released code. MobileNetV3 sets
    ``gate="hard_sigmoid"``, EfficientNet ``activation="silu"``, and both a width of their own.
    """

    reduction: int = 16
    width: int | None = None
    activation: Activation = "relu"
    gate: Activation = "sigmoid"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """``x`` with weighted channels. Raises UserError where the reduction leaves no channel."""
        c = x.shape[-1]
        width = reduced(self, c, self.reduction, self.width)
        y = mean_over_space(x)
        y = Conv(width, kernel_size=1, name="reduce")(y)
        y = activated(self, y, self.activation)
        y = Conv(c, kernel_size=1, name="expand")(y)
        y = activated(self, y, self.gate, "gate_slope")
        self.sow("intermediates", "attention", y)
        return x * spread(y, x.shape, x.dtype)


class SpatialExcitation(nn.Module):
    """``x * sigmoid(squeeze(x))``, one weight a pixel: Roy's sSE, section 3.2."""

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """``x`` with weighted pixels."""
        y = nn.sigmoid(Conv(1, kernel_size=1, name="squeeze")(x))
        self.sow("intermediates", "attention", y)
        return x * spread(y, x.shape, x.dtype)


class ConcurrentExcitation(nn.Module):
    """Channels and pixels weighted side by side: Roy's scSE.

    ``max`` takes the larger of the two for each number: the authors' code and the journal paper.
    ``add`` is their sum: the conference paper, and segmentation_models_pytorch's ``scse`` (with
    a reduction of 16).
    """

    combine: Literal["max", "add"] = "max"
    reduction: int = 2

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """``x`` with weighted channels and pixels."""
        by_channel = SqueezeExcitation(self.reduction, name="channel")(x)
        by_pixel = SpatialExcitation(name="spatial")(x)
        if self.combine == "max":
            return jnp.maximum(by_channel, by_pixel)
        return by_channel + by_pixel


def reduced(module: nn.Module, channels: int, reduction: int, width: int | None = None) -> int:
    """``width``, or ``channels // reduction``; UserError where that leaves no channel."""
    found = channels // reduction if width is None else width
    if found < 1:
        fit = f"width={width} must be at least 1"
        if width is None:
            fit = f"reduction={reduction} leaves none of {channels} channels; {channels} would do"
        raise UserError(f"{type(module).__name__} {module.name}: {fit}")
    return found
