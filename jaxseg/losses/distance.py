"""Exact Euclidean distance transform in JAX, any rank, any spacing, without a gradient.

On the host ``scipy.ndimage.distance_transform_edt`` is the quicker one; this is for distances to
what a network predicts, and for labels that were augmented on the device.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxseg.errors import UserError

UNROLL = 8
"""Source pixels compared in one pass over memory."""


def distance_to(
    seeds: Bool[Array, "b *spatial k"], spacing: tuple[float, ...] | None = None
) -> Float[Array, "b *spatial k"]:
    """From each pixel to the nearest seed of its example and class; 0 where there is no seed.

    ``spacing`` is the distance of neighbours on each spatial axis (None: 1). The work is that of
    all pixels times the sum of the axes' lengths (Saito and Toriwaki 1994 without their bounds),
    the memory that of two distance maps. scipy's ``distance_transform_edt(x)`` is
    ``distance_to(~x)``, but has an arbitrary value without a seed.
    """
    rank = seeds.ndim - 2
    steps = (1.0,) * rank if spacing is None else spacing
    if len(steps) != rank or not all(step > 0 for step in steps):
        raise UserError(f"spacing={spacing}: needs {rank} positive numbers, the image's rank")
    squared = jnp.where(seeds, 0.0, jnp.inf).astype(jnp.float32)
    for axis, step in enumerate(steps, start=1):
        squared = _along(squared, axis, step)
    return jax.lax.stop_gradient(jnp.sqrt(jnp.where(jnp.isfinite(squared), squared, 0.0)))


def apart(
    inside: Bool[Array, "b *spatial k"],
    outside: Bool[Array, "b *spatial k"],
    spacing: tuple[float, ...] | None = None,
) -> tuple[Float[Array, "b *spatial k"], Float[Array, "b *spatial k"]]:
    """Distances to ``inside`` and to ``outside``; both 0 where one of the two sets is empty."""
    pixels = tuple(range(1, inside.ndim - 1))
    both = inside.any(pixels, keepdims=True) & outside.any(pixels, keepdims=True)
    distances = distance_to(jnp.concatenate([inside, outside], -1), spacing)
    to_inside, to_outside = jnp.split(distances, 2, axis=-1)
    return jnp.where(both, to_inside, 0.0), jnp.where(both, to_outside, 0.0)


@functools.partial(jax.jit, static_argnames=("axis", "step"))  # else traced anew at each call
def _along(squared: Float[Array, "b *spatial k"], axis: int, step: float) -> Array:
    """``out[i] = min_j squared[j] + ((i - j) step)^2`` on one axis."""
    lines = jnp.moveaxis(squared, axis, 0)
    place = step * jnp.arange(len(lines), dtype=jnp.float32)
    column = place.reshape(-1, *(1,) * (lines.ndim - 1))

    # A source pixel at a time: [n n] costs never stand in memory, and the batch stays sharded.
    def nearer(best: Array, source: tuple[Array, Array]) -> tuple[Array, None]:
        value, at = source
        return jnp.minimum(best, value[None] + (column - at) ** 2), None

    best, _ = jax.lax.scan(nearer, jnp.full_like(lines, jnp.inf), (lines, place), unroll=UNROLL)
    return jnp.moveaxis(best, 0, axis)
