"""Self-attention within windows of a map, which every second block shifts by half of their size.

Swin Transformer: Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo 2021, https://arxiv.org/abs/2103.14030,
section 3.2; in 3-D as in MONAI.
"""

import functools
import itertools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers.conv import Conv
from jaxseg.ops import Size, crop, pad_to_multiple, per_axis

APART = 100.0
"""What a weight's logarithm loses where two pixels came into one window by the shift alone."""


class WindowAttention(nn.Module):
    """``out(softmax(q k^T / sqrt(c / heads) + bias) v)`` in each window; softmax in float32.

    ``bias`` is a number a head for each difference of two places in the window, from the parameter
    ``relative_position_bias_table [heads n]``, the last axis fastest. With ``shifted`` the windows
    begin half a window later; what is left at both ends of an axis shares a window, whose parts do
    not see each other (section 3.2). An axis no longer than the window is one window, not shifted.
    Others are padded with zeros at the end; as in the authors' 3-D code these are seen like pixels.

    There too, in a window that an axis of the map cuts, differences are looked up as if its pixels,
    row by row, were the first of the whole window.
    """

    heads: int
    window: Size = 7
    shifted: bool = False
    use_bias: bool = True
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """A map of the same shape. UserError where heads do not divide channels."""
        c, size, rank = x.shape[-1], x.shape[1:-1], x.ndim - 2
        require(c % self.heads == 0, "heads", self.heads, f"a divisor of {c} channels")
        whole = per_axis(self.window, rank, "window")
        require(min(whole) >= 1, "window", self.window, "at least 1")
        alone = [n <= w for n, w in zip(size, whole, strict=True)]
        window = tuple(n if a else w for a, n, w in zip(alone, size, whole, strict=True))
        shift = tuple(w // 2 * (self.shifted and not a) for a, w in zip(alone, whole, strict=True))
        x = pad_to_multiple(x, window)
        padded = x.shape[1:-1]
        x = _rolled(x, tuple(-s for s in shift))
        x = Conv(3 * c, kernel_size=1, use_bias=self.use_bias, name="qkv")(x)
        x = to_windows(x, window)  # [b w n 3c]
        x = x.reshape(*x.shape[:3], 3, self.heads, c // self.heads)
        query, key, value = (x[:, :, :, i] for i in range(3))
        products = jnp.einsum("bwnhd,bwmhd->bwhnm", query, key, preferred_element_type=jnp.float32)
        products = products * (c // self.heads) ** -0.5 + self._bias(whole, math.prod(window))
        if any(shift):
            part = to_windows(_parts(padded, window, shift), window)[..., 0]  # [1 w n]
            apart = part[:, :, None, :, None] != part[:, :, None, None, :]
            products = jnp.where(apart, products - APART, products)
        weights = jax.nn.softmax(products)
        self._sow(weights, window, padded, shift, size)
        drop = nn.Dropout(self.dropout, deterministic=not train, name="dropout")
        weights = drop(weights).astype(value.dtype)
        y = jnp.einsum("bwhnm,bwmhd->bwnhd", weights, value)
        y = from_windows(y.reshape(*y.shape[:3], c), window, padded)
        y = crop(_rolled(y, shift), size)
        return Conv(c, kernel_size=1, name="out")(y)

    def _bias(self, window: tuple[int, ...], count: int) -> Float[Array, "1 1 h n n"]:
        """The bias of the first ``count`` places of the window among each other."""
        init, name = nn.initializers.truncated_normal(0.02), "relative_position_bias_table"
        shape = (self.heads, math.prod(2 * w - 1 for w in window))
        table = jnp.asarray(self.param(name, init, shape, jnp.float32))
        return table[:, relative_index(window)[:count, :count]][None, None]

    def _sow(self, weights: Array, window: Any, padded: Any, shift: Any, size: Any) -> None:
        """Keep ``attention``, ``[b *s h]``: the share of all pixels' attention that each gets."""
        if self.is_mutable_collection("intermediates"):
            shares = jnp.moveaxis(weights.mean(-2), 2, -1) / weights.shape[1]  # [b w n h]
            shares = crop(_rolled(from_windows(shares, window, padded), shift), size)
            self.sow("intermediates", "attention", shares)


@functools.cache
def relative_index(window: tuple[int, ...]) -> np.ndarray:
    """``[n n]``: the row of the table for query i and key j, by where i lies from j."""
    places = np.stack(np.meshgrid(*map(np.arange, window), indexing="ij"), -1)
    places = places.reshape(-1, len(window))
    away = places[:, None] - places[None] + np.array(window) - 1
    spans = tuple(2 * w - 1 for w in window)
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(away, -1, 0)), spans))


def to_windows(x: Float[Array, "b *s c"], window: tuple[Any, ...]) -> Float[Array, "b w n c"]:
    """A map, whose sizes are multiples of the window's, as the pixels of each window."""
    rank = len(window)
    counts = [n // w for n, w in zip(x.shape[1:-1], window, strict=True)]
    pairs = itertools.chain.from_iterable(zip(counts, window, strict=True))
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
    y = x.reshape(x.shape[0], *pairs, x.shape[-1]).transpose(order)
    return y.reshape(x.shape[0], math.prod(counts), math.prod(window), x.shape[-1])


def from_windows(
    x: Float[Array, "b w n c"], window: tuple[Any, ...], size: tuple[Any, ...]
) -> Float[Array, "b *s c"]:
    """The inverse of `to_windows`: ``size`` is that of the map."""
    rank, b, c = len(window), x.shape[0], x.shape[-1]
    counts = [n // w for n, w in zip(size, window, strict=True)]
    order = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
    y = x.reshape(b, *counts, *window, c).transpose(0, *order, 2 * rank + 1)
    return y.reshape(b, *size, c)


def _rolled(x: Array, by: tuple[int, ...]) -> Array:
    return jnp.roll(x, by, range(1, x.ndim - 1)) if any(by) else x


def _parts(size: tuple[Any, ...], window: tuple[Any, ...], shift: tuple[int, ...]) -> Array:
    """``[1 *s 1]``: a number for each part of a rolled map whose pixels were together before."""
    total = jnp.zeros((1,) * (len(size) + 2), jnp.float32)
    for axis, (n, w, s) in enumerate(zip(size, window, shift, strict=True)):
        if s:
            at = jnp.arange(n)
            part = (at >= n - w).astype(jnp.float32) + (at >= n - s).astype(jnp.float32)
            others = [i for i in range(len(size) + 2) if i != 1 + axis]
            total = 3 * total + jnp.expand_dims(part, others)
    return jnp.broadcast_to(total, (1, *size, 1))
