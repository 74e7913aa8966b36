"""Max pooling, any spatial rank. The average pools stand in ``average_pool``."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.ops import windows
from jaxseg.ops.axes import Size, per_axis

Lengths = tuple[int, ...]
"""Pixels along each axis."""

JOINT = 64
"""Taps up to which a window is one maximum of slices; a larger one takes axis by axis."""


def max_pool(
    x: Float[Array, "b *s c"],
    window: Size = 2,
    *,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
) -> Float[Array, "b *t c"]:
    """The largest of each window; ``floor((n + 2 padding - window) / stride) + 1`` a side.

    ``stride`` None is the window's. ``ceil_mode`` rounds up instead: a last window may reach
    beyond the image, but not start after it. Padding never wins, and the gradient goes to the
    first of equal maxima: all as in PyTorch. (A window that holds padding, and but for that only
    -inf, has no gradient here, as padding is -inf as well.) Raises UserError where no window fits.
    """
    rank = x.ndim - 2
    window = per_axis(window, rank, "max_pool: window")
    step = per_axis(window if stride is None else stride, rank, "max_pool: stride")
    padding = per_axis(padding, rank, "max_pool: padding")
    edges = windows.edges("max_pool", x.shape[1:-1], window, step, padding, ceil_mode)
    # XLA:CPU runs the gradient of its own pooling (a select-and-scatter) 14-60 times slower
    # than PyTorch; the maximum of shifted slices, which remembers the winner, 0.6-1.3 times.
    # On GPUs that gradient writes two maps of indices and scatters, six times the traffic.
    form = _max_of_slices if math.prod(window) <= JOINT else _axis_by_axis
    slices = functools.partial(form, window, step, edges)
    return jax.lax.platform_dependent(
        x,
        cpu=slices,
        cuda=slices,
        rocm=slices,
        default=functools.partial(_reduce_window, window, step, edges),
    )


def best_of(slices: list[Array]) -> tuple[Array, Array]:
    """The largest of the slices, and the number of the first that has it (uint8 if that fits)."""
    best, kind = slices[0], np.min_scalar_type(len(slices))
    winner = jnp.zeros(best.shape, kind)
    for tap, values in enumerate(slices[1:], start=1):
        winner = jnp.where(values > best, jnp.array(tap, kind), winner)
        best = jnp.maximum(best, values)
    return best, winner


def _reduce_window(window: Lengths, stride: Lengths, edges: windows.Edges, x: Array) -> Array:
    return jax.lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),
        jax.lax.max,
        (1, *window, 1),
        (1, *stride, 1),
        ((0, 0), *edges, (0, 0)),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _max_of_slices(window: Lengths, stride: Lengths, edges: windows.Edges, x: Array) -> Array:
    return functools.reduce(jnp.maximum, _slices(window, stride, edges, x))


def _forward(
    window: Lengths, stride: Lengths, edges: windows.Edges, x: Array
) -> tuple[Array, tuple]:
    best, winner = best_of(_slices(window, stride, edges, x))
    return best, (winner, x)


def _backward(
    window: Lengths, stride: Lengths, edges: windows.Edges, residual: tuple, gradient: Array
) -> tuple[Array]:
    """Each pixel gathers from the windows that chose it; nothing is scattered.

    Pixels are numbered by block (as long as the stride) and place in the block: the pixel at
    place r of block i is tap ``stride q + r`` of window ``i - q``.
    """
    winner, x = residual
    before = [(k - 1) // s for k, s in zip(window, stride, strict=True)]
    blocks = [
        (n + lo + s - 1) // s for n, (lo, _), s in zip(x.shape[1:-1], edges, stride, strict=True)
    ]
    around = tuple((q, m - n) for q, m, n in zip(before, blocks, gradient.shape[1:-1], strict=True))
    nobody = math.prod(window)
    # padded once: XLA would test for the edge again in each of the slices
    gradient, winner = jax.lax.optimization_barrier(
        (windows.pad(gradient, around, 0), windows.pad(winner, around, nobody))
    )
    zero, places = jnp.zeros((), gradient.dtype), {}
    for tap, offset in enumerate(itertools.product(*map(range, window))):
        start = [q - o // s for q, o, s in zip(before, offset, stride, strict=True)]
        there = (slice(None), *(slice(a, a + m) for a, m in zip(start, blocks, strict=True)))
        share = jnp.where(winner[there] == tap, gradient[there], zero)
        place = tuple(o % s for o, s in zip(offset, stride, strict=True))
        places[place] = places[place] + share if place in places else share
    whole = _interleave(places, stride)
    lows = [lo for lo, _ in edges]
    inside = (slice(lo, lo + n) for lo, n in zip(lows, x.shape[1:-1], strict=True))
    return (whole[(slice(None), *inside)],)


_max_of_slices.defvjp(_forward, _backward)


def _axis_by_axis(window: Lengths, stride: Lengths, edges: windows.Edges, x: Array) -> Array:
    """The same maximum, with as many slices as the window is long, not large.

    The last axis first: the first of equal rows, and in it the first of equal pixels, is the
    first of all.
    """
    rank = x.ndim - 2
    for axis in reversed(range(rank)):
        before, behind = axis, rank - 1 - axis
        x = _max_of_slices(
            (*(1,) * before, window[axis], *(1,) * behind),
            (*(1,) * before, stride[axis], *(1,) * behind),
            (*((0, 0),) * before, edges[axis], *((0, 0),) * behind),
            x,
        )
    return x


def _slices(window: Lengths, stride: Lengths, edges: windows.Edges, x: Array) -> list[Array]:
    """The slices of x, one a place in the window, whose maximum is the pooling."""
    return windows.taps(windows.pad(x, edges, -jnp.inf), window, stride)


def _interleave(places: dict[tuple[int, ...], Array], stride: Lengths) -> Array:
    """``y[s i + r] = places[r][i]``; places that are absent (the stride skips them) are 0.

    By choosing on the place: XLA:CPU makes vectors of it, of a concatenation branches.
    """
    b, *blocks, c = places[(0,) * len(stride)].shape
    shape = (b, *(n for pair in zip(blocks, stride, strict=True) for n in pair), c)
    within = tuple(range(2, 2 * len(stride) + 1, 2))
    whole = jnp.zeros(shape, places[(0,) * len(stride)].dtype)
    for place, values in places.items():
        here = np.ones((1,) * len(shape), bool)
        for axis, r, s in zip(within, place, stride, strict=True):
            here = here & np.expand_dims(
                np.arange(s) == r, [a for a in range(len(shape)) if a != axis]
            )
        whole = jnp.where(here, jnp.expand_dims(values, within), whole)
    return whole.reshape(b, *(n * s for n, s in zip(blocks, stride, strict=True)), c)
