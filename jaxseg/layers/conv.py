"""Convolution with PyTorch's padding, any spatial rank."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops import How, Size, along_channels, convolve, per_axis

Padding = Size | Literal["same"] | None
"""Pixels on both sides; ``same`` and None: see ``Conv``."""


class Conv(nn.Module):
    """Cross-correlation; the spatial rank is the input's, the compute dtype is the input's.

    Sizes are one number, or one for each spatial axis; ``padding`` goes on both sides. None keeps
    the size at stride 1, and pads stride 2 as PyTorch does: ``(1, 1)`` for a kernel of 3, where
    TensorFlow's 'SAME' pads ``(0, 1)`` on even sizes: that is ``"same"``, which gives weights that
    were trained with it the map they know. The kernel is ``[*kernel, c_in
    / groups, c_out]``, drawn as He et al. 2015 propose (fan in, gain sqrt 2),
    https://arxiv.org/abs/1502.01852. ``groups`` as many as channels is a depthwise convolution.

    On CPU a few groups are convolved as one, with zeros between them: there a NaN or an infinity in
    one group also makes NaN in the groups it is joined with.
    """

    features: int
    kernel_size: Size = 3
    stride: Size = 1
    dilation: Size = 1
    padding: Padding = None
    groups: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t {self.features}"]:
        """The convolved map. Raises UserError where groups do not divide channels and features."""
        how, size = self._how(x.ndim - 2), per_axis(self.kernel_size, x.ndim - 2, "kernel_size")
        self._check(x.shape[-1])
        if self.padding == "same":
            x = _padded_as_tensorflow(x, size, how)
        shape = (*size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape, jnp.float32)
        y = convolve(x, jnp.asarray(kernel, x.dtype), how)
        return add_bias(self, y) if self.use_bias else y

    def _how(self, rank: int) -> How:
        size, stride, dilation = (
            per_axis(getattr(self, field), rank, field)
            for field in ("kernel_size", "stride", "dilation")
        )
        if self.padding is None:
            padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, size, strict=True))
        elif self.padding == "same":  # a step of its own, for the sides differ
            padding = (0,) * rank
        else:
            padding = per_axis(self.padding, rank, "padding")
        return How(stride, padding, dilation, self.groups)

    def _check(self, channels: int) -> None:
        if channels % self.groups or self.features % self.groups:
            fitting = math.gcd(math.gcd(channels, self.features), self.groups)
            raise UserError(
                f"Conv {self.name}: groups={self.groups} does not divide both {channels} channels "
                f"and {self.features} features; {fitting} does"
            )


def _padded_as_tensorflow(x: Array, kernel: tuple[int, ...], how: How) -> Float[Array, "b ..."]:
    """``x`` with the zeros that make ``ceil(n / stride)`` pixels, an odd one at the end."""
    edges = []
    for n, k, s, d in zip(x.shape[1:-1], kernel, how.stride, how.dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        edges.append((total // 2, total - total // 2, 0))
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def add_bias(module: nn.Module, y: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
    """``y + bias``, the parameter of ``module``: one number a channel, zero at first."""
    bias = module.param("bias", nn.initializers.zeros, (y.shape[-1],), jnp.float32)
    return y + along_channels(bias, y)
