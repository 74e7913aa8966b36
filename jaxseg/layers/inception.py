"""The Inception block of Inception-U-Net, and its hybrid pooling.

Inception U-Net Architecture for Semantic Segmentation to Identify Nuclei in Microscopy Cell Images,
Punn & Agarwal 2020, https://doi.org/10.1145/3376922, figures 2 and 3.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation
from jaxseg.layers.conv import Conv
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.norm import Kind
from jaxseg.ops import max_pool
from jaxseg.ops.fit import Sizes


class InceptionBlock(nn.Module):
    """Convolutions of several sizes and a hybrid pooling beside each other, joined by a 1x1.

    Each branch but the pooling has ``features`` channels. ``residual`` adds a 1x1 convolution of x
    (and norm) to the result, as the authors' second network does; nothing is activated after that.
    """

    features: int
    kernel_sizes: tuple[int, ...] = (1, 3, 5)
    residual: bool = False
    norm: Kind = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays."""
        branches = [
            self._conv(size, f"branch_{size}x{size}")(x, train=train) for size in self.kernel_sizes
        ]
        pool = HybridPool(stride=1, name="branch_pool")
        y = jnp.concatenate([*branches, pool(x)], axis=-1)
        y = self._conv(1, "join")(y, train=train)
        if not self.residual:
            return y
        return y + self._conv(1, "shortcut", "none")(x, train=train)

    def _conv(self, kernel_size: int, name: str, activation: Activation = "relu") -> ConvNorm:
        return ConvNorm(
            self.features, kernel_size, norm=self.norm, activation=activation, name=name
        )


class HybridPool(nn.Module):
    """``conv1x1([max_pool(x), relu(spectral_pool(x))])`` to the channels of x (figure 3).

    At stride 1 the maximum is that of 2 pixels an axis (of one at the end), and the spectral
    pooling is the identity. In the authors' code these 1x1 convolutions are not trained
    (they sit in a ``Lambda``) and its Fourier transform runs over width and channels; both are
    taken for mistakes and not repeated.
    """

    stride: int = 2

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t c"]:
        """Each axis is a ``stride``-th as long; UserError where one is not a multiple of it."""
        step = self.stride
        if any(isinstance(n, int) and n % step for n in x.shape[1:-1]):
            fitting = tuple(step * math.ceil(n / step) for n in x.shape[1:-1])
            raise UserError(
                f"HybridPool {self.name}: {x.shape[1:-1]} is no multiple of the stride {step}; "
                f"pad to {fitting}"
            )
        if step == 1:
            edges = [(0, 0, 0), *[(0, 1, 0)] * (x.ndim - 2), (0, 0, 0)]
            largest = max_pool(jax.lax.pad(x, jnp.array(-jnp.inf, x.dtype), edges), 2, stride=1)
        else:
            largest = _largest(x, step)
        smooth = nn.relu(spectral_pool(x, tuple(n // step for n in x.shape[1:-1])))
        y = jnp.concatenate([largest, smooth], axis=-1)
        return Conv(x.shape[-1], 1, name="conv")(y)


def _largest(x: Array, step: int) -> Array:
    """The maximum of each block, in turns: a window of 16 is costly (16 ** rank slices on CPUs)."""
    while step > 1:
        factor = next(n for n in range(2, step + 1) if step % n == 0)
        x, step = max_pool(x, factor), step // factor
    return x


def spectral_pool(x: Float[Array, "b *s c"], size: Sizes) -> Float[Array, "b *t c"]:
    """The ``size`` lowest frequencies of each axis, transformed back: keeps the mean.

    Spectral Representations for Convolutional Neural Networks, Rippel et al. 2015,
    https://arxiv.org/abs/1506.03767, algorithm 1 (unitary transforms there, so a constant grows by
    the root of the shrinking; here it stays). Cutting a spectrum and going back is one real matrix
    for each axis: a matmul, in the dtype of x.
    """
    for axis, (n, m) in enumerate(zip(x.shape[1:-1], size, strict=True), start=1):
        if n == m:
            continue
        if isinstance(n, int) and m > n:
            raise UserError(f"spectral_pool: size {m} is larger than the axis of {n} it pools")
        weights = _low_pass(n, m).astype(x.dtype)
        y = jax.lax.dot_general(x, weights, (((axis,), (0,)), ((), ())), precision="highest")
        x = jnp.moveaxis(y, -1, axis)
    return x


def _low_pass(n: Any, m: Any) -> Float[Array, "n m"]:
    """Cosines up to frequency m / 2, at the distances of the m new pixels from the n old ones."""
    # Distances in parts of a turn, a turn being m n parts: integers, so that multiples of them
    # lose no digits. The sum of the cosines is Dirichlet's kernel.
    old, new, turn = jnp.arange(n)[:, None], jnp.arange(m)[None], m * n
    parts = new * n - old * m
    count = 2 * ((m - 1) // 2) + 1
    below = jnp.sin(jnp.pi * jnp.where(parts == 0, 1, parts) / turn)
    weights = jnp.where(
        parts == 0, count * 1.0, jnp.sin(jnp.pi * (count * parts % (2 * turn)) / turn) / below
    )
    # The frequency m / 2 is its own mirror image: half of each of the two old ones.
    last = jnp.cos(jnp.pi * (new % 2)) * jnp.cos(jnp.pi * (m * old % (2 * n)) / n)
    return (weights + (m - count) * last) / n
