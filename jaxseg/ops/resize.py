"""Nearest and linear resizing, any spatial rank, as PyTorch's ``interpolate`` numbers pixels."""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops.axes import Size, per_axis
from jaxseg.ops.resample import gather, resample

Method = Literal["nearest", "nearest-exact", "linear"]


def resize(
    x: Float[Array, "b *s c"],
    size: tuple[Any, ...] | None,
    method: Method,
    align_corners: bool = False,
    scale: float | int | tuple[float | int, ...] | None = None,
) -> Float[Array, "b *t c"]:
    """The image at any ``size``, without antialiasing; None is ``floor(n * scale)``.

    With r old pixels a new one, new pixel i lies at ``(i + 0.5) r - 0.5`` of the old ones, cut to
    the image (half-pixel centres); with ``align_corners`` at ``i (n - 1) / (m - 1)``, so that the
    corner pixels' centres meet. ``linear`` (bilinear, trilinear) weighs the two nearest pixels of
    each axis, ``nearest`` takes ``floor(i r)``, ``nearest-exact`` ``floor((i + 0.5) r)``.

    PyTorch's rule for r: ``n / m``, or where a ``scale`` is given ``1 / scale``, which is another
    number if ``n * scale`` is not whole. A scale says nothing where corners are aligned, nor on
    an axis whose length stays: that is left alone, but by ``nearest-exact`` and by ``nearest`` in
    other ranks than two, which PyTorch resamples.
    UserError for a size below 1 and for ``align_corners`` of a nearest method.
    """
    rank, sizes = x.ndim - 2, x.shape[1:-1]
    given = (None,) * rank
    if scale is not None:
        given = _scales(scale, rank)
        size = (
            tuple(math.floor(n * s) for n, s in zip(sizes, given, strict=True))
            if size is None
            else size
        )
    elif size is None:
        raise UserError("resize: neither size nor scale is given; one of them must be")
    if len(size) != rank or any(isinstance(m, int) and m < 1 for m in size):
        raise UserError(
            f"resize: size={tuple(size)} for an image of {sizes}; {rank} numbers of at least 1 fit"
        )
    if align_corners and method != "linear":
        raise UserError(
            f"resize: align_corners=True does not go with method={method!r}; linear fits"
        )
    for axis, (m, s) in enumerate(zip(size, given, strict=True), start=1):
        kept = s is None or method == "linear" or (method, rank) == ("nearest", 2)
        if x.shape[axis] == m and kept:
            continue
        x = _along(x, axis, m, method, align_corners, s)
    return x


def enlarge(x: Float[Array, "b *s c"], factor: Size, method: Method) -> Float[Array, "b *t c"]:
    """The image with each axis ``factor`` times as long, half-pixel centres; or a factor an axis.

    All nearest methods are the same here: a broadcast, which whatever follows reads without writing
    it out. Linear shifts and sums, no matmul and no gather, but on CPU, where the sizes are known,
    it takes pixels by number (``resample.gather``), the faster there.
    """
    factors = per_axis(factor, x.ndim - 2, "enlarge: factor")
    if set(factors) == {1}:
        return x
    if method != "linear":
        return _repeat(x, factors)
    shifts = functools.partial(_interpolate, factors=factors)
    if not all(isinstance(n, int) for n in x.shape[1:-1]):
        return shifts(x)
    return jax.lax.platform_dependent(
        x, cpu=functools.partial(_enlarge_by_taking, factors=factors), default=shifts
    )


def _scales(scale: float | int | tuple[float | int, ...], rank: int) -> tuple[float | int, ...]:
    scales = tuple(scale) if isinstance(scale, tuple) else (scale,) * rank
    if len(scales) != rank or min(scales) <= 0:
        raise UserError(f"resize: scale={scale}; a number above 0, or one for each of {rank} axes")
    return scales


def _along(
    x: Array, axis: int, m: Any, method: Method, align_corners: bool, scale: float | int | None
) -> Array:
    n = x.shape[axis]
    known = isinstance(n, int) and isinstance(m, int)
    if method == "linear":
        position = _positions(np if known else jnp, n, m, align_corners, scale)
        return resample(x, axis, *_neighbours(np if known else jnp, position, n))
    # float32, as PyTorch rounds: the exact quotient lands on another pixel now and then
    xp, half = (np if known else jnp), 0.5 if method == "nearest-exact" else 0.0
    ratio = xp.float32(1 / scale) if scale else xp.float32(n) / xp.float32(m)
    place = xp.floor((xp.arange(m).astype("float32") + xp.float32(half)) * ratio)
    pixel = xp.clip(place.astype("int32"), 0, n - 1)
    take = functools.partial(jnp.take, indices=jnp.asarray(pixel), axis=axis, mode="clip")
    if not isinstance(pixel, np.ndarray):
        return take(x)
    few = functools.partial(gather, axis=axis, index=pixel[:, None], weight=np.ones((m, 1), "f4"))
    return jax.lax.platform_dependent(x, cpu=few, default=take)  # XLA:CPU: a slow scatter back


def _positions(xp, n: Any, m: Any, align_corners: bool, scale: float | int | None):
    """The places of the new pixels among the old ones."""
    number = xp.arange(m)
    if align_corners:
        return number * ((n - 1) / xp.maximum(m - 1, 1))
    ratio = 1 / scale if scale else n / m
    return xp.clip((number + 0.5) * ratio - 0.5, 0, n - 1)


def _neighbours(xp, position, n: Any):
    """The pixels before and behind each position, and their weights."""
    before = xp.clip(xp.floor(position).astype("int32"), 0, n - 1)
    rest = position - before
    index = xp.stack([before, xp.minimum(before + 1, n - 1)], 1)
    return index, xp.stack([1 - rest, rest], 1).astype("float32")


def _enlarge_by_taking(x: Array, factors: tuple[int, ...]) -> Array:
    for axis, factor in enumerate(factors, start=1):
        if factor == 1:
            continue
        n = x.shape[axis]
        position = _positions(np, n, n * factor, False, None)
        x = gather(x, axis, *_neighbours(np, position, n))
    return x


def _repeat(x: Array, factors: tuple[int, ...]) -> Array:
    b, *size, c = x.shape
    pairs = list(zip(size, factors, strict=True))
    wide = jnp.expand_dims(x, tuple(range(2, 2 * len(size) + 1, 2)))
    wide = jnp.broadcast_to(wide, (b, *(n for pair in pairs for n in pair), c))
    return wide.reshape(b, *(n * factor for n, factor in pairs), c)


def _interpolate(x: Array, factors: tuple[int, ...]) -> Array:
    for axis, factor in enumerate(factors, start=1):
        x = _interpolate_along(x, axis, factor) if factor > 1 else x
    return x


def _interpolate_along(x: Array, axis: int, factor: int) -> Array:
    n = x.shape[axis]
    first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, n - 1))
    before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, n - 1, axis=axis)], axis)
    after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, n, axis=axis), last], axis)
    phases = []
    for phase in range(factor):
        shift = (phase + 0.5) / factor - 0.5  # of the new pixel's centre from x's, in pixels of x
        neighbour = before if shift < 0 else after
        phases.append((1 - abs(shift)) * x + abs(shift) * neighbour)
    return _interleave(phases, axis)


def _interleave(parts: list[Array], axis: int) -> Array:
    shape = list(parts[0].shape)
    shape[axis] = len(parts) * shape[axis]
    return jnp.stack(parts, axis + 1).reshape(shape)
