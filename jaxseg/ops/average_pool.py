"""Average pooling by windows, and to a given size; any spatial rank."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops import windows
from jaxseg.ops.axes import Size, per_axis
from jaxseg.ops.resample import gather, interpolate

LONGEST = 64
"""Pixels in a bin of adaptive pooling up to which they are summed one by one on CPU."""


def average_pool(
    x: Float[Array, "b *s c"],
    window: Size = 2,
    *,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Float[Array, "b *t c"]:
    """The mean of each window; sizes as of ``max_pool``.

    Padding counts as zeros, or not at all without ``count_include_pad``; what ``ceil_mode``
    reaches beyond the padding never counts. As in PyTorch. UserError where no window fits.
    """
    rank, sizes = x.ndim - 2, x.shape[1:-1]
    window = per_axis(window, rank, "average_pool: window")
    step = per_axis(window if stride is None else stride, rank, "average_pool: stride")
    padding = per_axis(padding, rank, "average_pool: padding")
    edges = windows.edges("average_pool", sizes, window, step, padding, ceil_mode)
    whole = functools.partial(_whole, window, step, padding, edges, count_include_pad)
    if not all(isinstance(n, int) for n in sizes):
        return whole(x)
    parts = [
        _shares(*each, count_include_pad)
        for each in zip(sizes, window, step, padding, edges, strict=True)
    ]
    # XLA:CPU runs the gradient of its own sum over windows 1.4 to 5 times slower than PyTorch;
    # an axis after the other, each pixel takes from its windows: 0.5 to 1.2 times
    return jax.lax.platform_dependent(x, cpu=functools.partial(_along_axes, parts), default=whole)


def _along_axes(parts: list[tuple[np.ndarray, np.ndarray]], x: Array) -> Array:
    for axis, (index, weight) in enumerate(parts, start=1):
        x = gather(x, axis, index, weight)
    return x


def _whole(window: tuple, stride: tuple, padding: tuple, edges, with_pad: bool, x: Array) -> Array:
    rank, wide = x.ndim - 2, jnp.promote_types(x.dtype, jnp.float32)
    y = jax.lax.reduce_window(
        x.astype(wide),
        np.zeros((), wide),
        jax.lax.add,
        (1, *window, 1),
        (1, *stride, 1),
        ((0, 0), *edges, (0, 0)),
    )
    for axis in range(1, rank + 1):
        where = window[axis - 1], stride[axis - 1], padding[axis - 1]
        first, last = _extent(jnp, x.shape[axis], *where, y.shape[axis], with_pad)
        count = (last - first).astype(wide)
        y = y / jnp.expand_dims(count, [a for a in range(x.ndim) if a != axis])
    return y.astype(x.dtype)


def _shares(n: int, k: int, s: int, p: int, edge, with_pad: bool) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of each window along one axis, and what each counts."""
    m = (n + sum(edge) - k) // s + 1
    first, last = _extent(np, n, k, s, p, m, with_pad)
    pixel = np.arange(m)[:, None] * s - p + np.arange(k)
    inside = (pixel >= 0) & (pixel < n)
    weight = inside / (last - first)[:, None]
    return np.clip(pixel, 0, n - 1), weight.astype(np.float32)


def _extent(xp, n, k: int, s: int, p: int, m, with_pad: bool):
    """The first and last (exclusive) pixel that counts in each of the m windows along one axis."""
    start = xp.arange(m) * s - p
    low, high = (-p, n + p) if with_pad else (0, n)
    return xp.maximum(start, low), xp.minimum(start + k, high)


def adaptive_average_pool(
    x: Float[Array, "b *s c"], size: int | tuple[int, ...]
) -> Float[Array, "b *t c"]:
    """The means of ``size`` bins an axis, PyTorch's ``AdaptiveAvgPool``; 1 is the global mean.

    Bin i of m holds pixels ``floor(i n / m)`` to ``ceil((i + 1) n / m)``: bins may share pixels,
    and there may be more bins than pixels. A small matmul an axis, in which a NaN or an infinity
    reaches all bins of its row; on CPU sums of up to ``LONGEST`` pixels, in which it does not.
    Raises UserError below 1.
    """
    size = per_axis(size, x.ndim - 2, "adaptive_average_pool: size")
    if min(size) < 1:
        raise UserError(f"adaptive_average_pool: size={size}; at least 1 an axis fits")
    for axis, bins in enumerate(size, start=1):
        n = x.shape[axis]
        if bins == 1:
            x = x.mean(axis, keepdims=True)
            continue
        matmul = functools.partial(_bins_by_matmul, axis=axis, bins=bins)
        longest = -(-n // bins) + 1 if isinstance(n, int) else LONGEST + 1
        if longest > LONGEST:
            x = matmul(x)
        else:
            few = functools.partial(_bins_by_taking, axis=axis, bins=bins)
            x = jax.lax.platform_dependent(x, cpu=few, default=matmul)
    return x


def _bins_by_matmul(x: Array, axis: int, bins: int) -> Array:
    pixel = jnp.arange(x.shape[axis])[None]
    first, last = _bins(jnp.arange(bins)[:, None], x.shape[axis], bins)
    inside = (pixel >= first) & (pixel < last)
    return interpolate(x, inside / (last - first), axis)


def _bins_by_taking(x: Array, axis: int, bins: int) -> Array:
    first, last = _bins(np.arange(bins)[:, None], x.shape[axis], bins)
    pixel = first + np.arange((last - first).max())
    weight = (pixel < last) / (last - first)
    return gather(x, axis, np.minimum(pixel, x.shape[axis] - 1), weight.astype(np.float32))


def _bins(number, n, bins: int):
    """The first and last (exclusive) pixel of each bin."""
    return number * n // bins, ((number + 1) * n + bins - 1) // bins
