"""Max pooling that remembers where its maxima were, and its way back: SegNet's pair.

Badrinarayanan et al. 2017, "SegNet", https://arxiv.org/abs/1511.00561, figure 3.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from jaxseg.errors import UserError
from jaxseg.ops import windows
from jaxseg.ops.axes import Size, per_axis
from jaxseg.ops.pool import best_of


def max_pool_with_indices(
    x: Float[Array, "b *s c"],
    window: Size = 2,
    *,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
) -> tuple[Float[Array, "b *t c"], Integer[Array, "b *t c"]]:
    """The ``max_pool``, and for each maximum its place in its window (uint8, last axis fastest).

    The place is for ``max_unpool``; it is not PyTorch's number of the pixel in the image, which
    needs four to eight times the memory. Windows must lie side by side (stride = window), or two
    of them could return to one pixel: UserError otherwise.

    The same slices on all platforms: XLA's own pooling gives no place.

    With rows over several devices each must hold an even number of them: of an odd number XLA
    makes a wrong gradient in silence (8, 24 or 40 rows over 8 devices, by 0.8 of its size). A
    network's ``stride`` lets ``sharding.check_rows`` refuse these.
    """
    rank = x.ndim - 2
    window = per_axis(window, rank, "max_pool_with_indices: window")
    step = window if stride is None else per_axis(stride, rank, "max_pool_with_indices: stride")
    if step != window:
        raise UserError(
            f"max_pool_with_indices: windows of {window} at stride {step} do not lie side by side, "
            f"so max_unpool could not invert them; stride={window} fits"
        )
    padding = per_axis(padding, rank, "max_pool_with_indices: padding")
    edges = windows.edges("max_pool_with_indices", x.shape[1:-1], window, step, padding, ceil_mode)
    return _pool(window, padding, edges, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _pool(window: tuple, padding: tuple, edges: windows.Edges, x: Array) -> tuple[Array, Array]:
    return _best(window, edges, x)


def _best(window: tuple, edges: windows.Edges, x: Array) -> tuple[Array, Array]:
    return best_of(windows.taps(windows.pad(x, edges, -jnp.inf), window, window))


def _forward(window: tuple, padding: tuple, edges: windows.Edges, x: Array):
    y, place = _best(window, edges, x)
    return (y, place), (place, x)


def _backward(window: tuple, padding: tuple, edges: windows.Edges, residual: tuple, gradient):
    place, x = residual
    return (max_unpool(gradient[0], place, x.shape[1:-1], window=window, padding=padding),)


_pool.defvjp(_forward, _backward)


def max_unpool(
    y: Float[Array, "b *t c"],
    index: Integer[Array, "b *t c"],
    size: tuple[Any, ...],
    *,
    window: Size = 2,
    padding: Size = 0,
) -> Float[Array, "b *s c"]:
    """An image of ``size`` with each value at the place its maximum came from, 0 elsewhere.

    ``index``, ``window`` and ``padding`` are those of ``max_pool_with_indices``, ``size`` that of
    the image it pooled; pixels that no window covered are 0. UserError where the size is another.
    """
    rank = y.ndim - 2
    window = per_axis(window, rank, "max_unpool: window")
    padding = per_axis(padding, rank, "max_unpool: padding")
    covered = [k * n for k, n in zip(window, y.shape[1:-1], strict=True)]
    _check(y.shape[1:-1], tuple(size), window, padding)
    b, *blocks, c = y.shape
    within = tuple(range(2, 2 * rank + 1, 2))
    shape = (b, *(n for pair in zip(blocks, window, strict=True) for n in pair), c)
    numbers = np.arange(np.prod(window)).astype(index.dtype).reshape(window)
    here = jnp.expand_dims(jnp.asarray(numbers), [a for a in range(len(shape)) if a not in within])
    chosen = jnp.broadcast_to(jnp.expand_dims(index, within), shape) == here
    values = jnp.broadcast_to(jnp.expand_dims(y, within), shape)
    whole = jnp.where(chosen, values, jnp.zeros((), y.dtype)).reshape(b, *covered, c)
    behind = [n + p - m for n, p, m in zip(size, padding, covered, strict=True)]
    rest = tuple((0, e if not isinstance(e, int) else max(e, 0)) for e in behind)
    whole = windows.pad(whole, rest, 0)
    inside = (slice(p, p + n) for p, n in zip(padding, size, strict=True))
    return whole[(slice(None), *inside)]


def _check(pooled: tuple, size: tuple, window: tuple, padding: tuple) -> None:
    """The sizes that pool to ``pooled``, rounding down or up."""
    low = [(m - 1) * k - 2 * p + 1 for m, k, p in zip(pooled, window, padding, strict=True)]
    high = [(m + 1) * k - 2 * p - 1 for m, k, p in zip(pooled, window, padding, strict=True)]
    fits = len(size) == len(pooled) and all(
        a <= n <= b
        for a, n, b in zip(low, size, high, strict=True)
        if isinstance(n, int) and isinstance(a, int)
    )
    if not fits:
        raise UserError(
            f"max_unpool: size={size} does not pool to {pooled} by windows of {window} with "
            f"padding={padding}; sizes from {tuple(low)} to {tuple(high)} do"
        )
