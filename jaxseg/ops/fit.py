"""Fitting sizes: padding to what a network can halve, cropping back, cropping to a centre.

All also take the symbolic sizes of ``jax.export``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import max_dim
from jaxtyping import Array, Float, Shaped

from jaxseg.ops.axes import Size, per_axis

Sizes = tuple[Any, ...]  # of int, or of the symbolic sizes of jax.export


def pad_to_multiple(x: Float[Array, "b *s c"], multiple: Size) -> Float[Array, "b *t c"]:
    """The image with zeros at the end of each axis, up to the next multiple."""
    multiples = per_axis(multiple, x.ndim - 2, "multiple")
    # This form of the padded size lets jax.export prove that it can be halved.
    sizes = [m * ((n + m - 1) // m) for n, m in zip(x.shape[1:-1], multiples, strict=True)]
    if tuple(sizes) == x.shape[1:-1]:
        return x
    edges = [(0, m - n, 0) for n, m in zip(x.shape[1:-1], sizes, strict=True)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def pad_to_least(x: Float[Array, "b *s c"], least: int) -> Float[Array, "b *t c"]:
    """The image with zeros at the end of each axis that is shorter than ``least`` pixels."""
    sizes = [max_dim(n, least) for n in x.shape[1:-1]]
    if tuple(sizes) == x.shape[1:-1]:
        return x
    edges = [(0, m - n, 0) for n, m in zip(x.shape[1:-1], sizes, strict=True)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def crop(x: Float[Array, "b *s c"], size: Sizes) -> Float[Array, "b *t c"]:
    """The first ``size`` pixels of each axis: takes the padding off again."""
    return jax.lax.slice(x, (0,) * x.ndim, (x.shape[0], *size, x.shape[-1]))


def crop_centre(
    x: Shaped[Array | np.ndarray, "b ..."], size: Sizes
) -> Shaped[Array | np.ndarray, "b ..."]:
    """The middle ``size`` pixels of axes 1, 2, ...; an odd rest is cut at the end.

    Axes behind these stay whole: images and labels, with or without channels, on the host (a view)
    or on a device.
    """
    start = [(n - m) // 2 for n, m in zip(x.shape[1:], size, strict=False)]
    stop = [o + m for o, m in zip(start, size, strict=True)]
    if isinstance(x, np.ndarray):
        return x[(slice(None), *map(slice, start, stop))]
    rest = x.shape[1 + len(stop) :]
    return jax.lax.slice(x, (0, *start, *(0,) * len(rest)), (x.shape[0], *stop, *rest))
