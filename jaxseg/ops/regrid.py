"""Logits of a network's grid in the grid of the case that they were predicted of.

The way back of `jaxseg.data.grid`: linear, half-pixel centres, the nearest voxel across slices that
lie far apart. Sizes are traced, so that cases of one bucket of sizes share a compilation. Classes
are resampled one after another: a label map costs the memory of a few maps, not of one a class.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxseg.ops.resample import interpolate

OUTSIDE = -50.0
"""Logit of all classes but 0 around the box that the network saw, where class 0 has 0."""


class Regrid(NamedTuple):
    """Where the network's grid lies in that of each case; see `jaxseg.data.grid.Place`.

    ``size`` voxels of the network's cover those from ``start`` to ``stop``; ``own`` holds anything
    in the size, or the bucket of sizes, of the case's grid.
    """

    size: Int[Array, "b rank"]
    start: Int[Array, "b rank"]
    stop: Int[Array, "b rank"]
    apart: Int[Array, "b rank"]
    own: Bool[Array, " b *own"]


def regridded_labels(logits: Float[Array, "b *s k"], onto: Regrid) -> Int[Array, " b *own"]:
    """The class of the largest resampled logit, class by class; class 0 outside of the box."""

    def of_one(logits: Array, onto: Regrid) -> Array:
        def better(k: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
            most, best = found
            here = _resampled(jax.lax.dynamic_index_in_dim(logits, k, -1, False), onto)
            return jnp.maximum(most, here), jnp.where(here > most, k, best)

        shape = onto.own.shape
        found = jnp.full(shape, -jnp.inf), jnp.zeros(shape, jnp.int32)
        _, best = jax.lax.fori_loop(0, logits.shape[-1], better, found)
        return jnp.where(_inside(onto), best, 0)

    return jax.vmap(of_one)(logits, onto)


def regridded_logits(logits: Float[Array, "b *s k"], onto: Regrid) -> Float[Array, "b *own k"]:
    """The resampled logits; outside of the box they are sure of class 0."""

    def of_one(logits: Array, onto: Regrid) -> Array:
        by_class = jnp.moveaxis(logits, -1, 0)
        made = jnp.moveaxis(jax.lax.map(lambda x: _resampled(x, onto), by_class), 0, -1)
        outside = jnp.full(logits.shape[-1], OUTSIDE).at[0].set(0)
        return jnp.where(_inside(onto)[..., None], made, outside)

    return jax.vmap(of_one)(logits, onto)


def _resampled(x: Float[Array, "*s"], onto: Regrid) -> Float[Array, "*own"]:
    for axis, length in enumerate(onto.own.shape):
        size, start, stop, apart = (field[axis] for field in onto[:4])
        at = (jnp.arange(length) - start + 0.5) * (size / jnp.maximum(stop - start, 1)) - 0.5
        at = jnp.where(apart > 0, jnp.floor(at + 0.5), at)
        at = jnp.clip(at, 0, size - 1)
        x = _along(x, axis, at)
    return x


def _along(x: Float[Array, "*a"], axis: int, at: Float[Array, " m"]) -> Float[Array, "*b"]:
    """The map at such places along an axis, linear between its pixels."""
    before = jnp.floor(at).astype(jnp.int32)
    rest = at - before

    def take(x: Array) -> Array:
        across = [a for a in range(x.ndim) if a != axis]
        first, second = (jnp.take(x, n, axis, mode="clip") for n in (before, before + 1))
        share = jnp.expand_dims(rest, across)
        made = jnp.where(share > 0, first + (second - first) * share, first)
        return jax.lax.optimization_barrier(made)  # an axis at a time: not three sums in one

    def matmul(x: Array) -> Array:
        pixel = jnp.arange(x.shape[axis])[None]
        shares = ((before, 1 - rest), (before + 1, rest))
        first, second = ((n[:, None] == pixel) * share[:, None] for n, share in shares)
        return interpolate(x[None, ..., None], first + second, axis + 1)[0, ..., 0]

    return jax.lax.platform_dependent(x, tpu=matmul, default=take)


def _inside(onto: Regrid) -> Bool[Array, "*own"]:
    rank, inside = onto.own.ndim, jnp.ones(onto.own.shape, bool)
    for axis, length in enumerate(onto.own.shape):
        at = jnp.arange(length)
        along = (at >= onto.start[axis]) & (at < onto.stop[axis])
        inside &= jnp.expand_dims(along, [a for a in range(rank) if a != axis])
    return inside
