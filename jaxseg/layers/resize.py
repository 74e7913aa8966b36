"""Nearest and linear resizing, half-pixel centres (PyTorch's ``align_corners=False``)."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Method = Literal["nearest", "linear"]


def enlarge(x: Float[Array, "b *s c"], factor: int, method: Method) -> Float[Array, "b *t c"]:
    """Each axis ``factor`` times as long; bilinear in 2-D, trilinear in 3-D for ``linear``.

    Shifts and sums only, no matmul and no gather: cheap on each platform, and its gradient too.
    """
    along = _repeat if method == "nearest" else _interpolate
    for axis in range(1, x.ndim - 1) if factor > 1 else ():
        x = along(x, axis, factor)
    return x


def resize(
    x: Float[Array, "b *s c"], size: tuple[int, ...], method: Method
) -> Float[Array, "b *t c"]:
    """To any ``size``, larger or smaller, without antialiasing.

    Nearest takes pixel ``floor(i * n / m)``, as PyTorch's ``nearest`` (not ``nearest-exact``).
    """
    for axis, (n, m) in enumerate(zip(x.shape[1:-1], size, strict=True), start=1):
        if n == m:
            continue
        if method == "nearest":
            x = jnp.take(x, jnp.arange(m) * n // m, axis=axis)
        else:
            x = interpolate(x, axis, m)
    return x


def _repeat(x: Array, axis: int, factor: int) -> Array:
    return _interleave([x] * factor, axis)


def _interpolate(x: Array, axis: int, factor: int) -> Array:
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


@functools.partial(jax.jit, static_argnums=(1, 2))  # by this name `cost` knows it is no layer's
def interpolate(x: Array, axis: int, size: int) -> Array:
    """One axis to ``size`` by a matmul with the weights of its two nearest pixels."""
    n = x.shape[axis]
    centre = jnp.clip((jnp.arange(size) + 0.5) * (n / size) - 0.5, 0, n - 1)
    weights = jnp.maximum(0, 1 - jnp.abs(centre[None] - jnp.arange(n)[:, None])).astype(x.dtype)
    y = jax.lax.dot_general(x, weights, (((axis,), (0,)), ((), ())), precision="highest")
    return jnp.moveaxis(y, -1, axis)
