"""Exact Euclidean distance transforms in JAX, any rank, any spacing, without a gradient.

On the host ``scipy.ndimage.distance_transform_edt`` is the quicker one; these are for distances to
what a network predicts, and for labels that were augmented on the device.

Axis by axis (Saito and Toriwaki 1994 without their bounds). On the first axis the distances are
counted in two sweeps: row by row on CPU, by doubling steps elsewhere (a fifth of the time on a
GPU, which starts a program for each row). On each further axis every pixel looks at all pixels of
its line, so that the work is that of all pixels times the sum of those axes' lengths.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxseg.errors import require

UNROLL = 8
"""Source pixels compared in one pass over memory."""

Nearest = tuple[Array, Array, Array]
"""For each pixel: distance to the nearest one that counts, that one's class, and distance to the
nearest of any other class. From the second axis on, distances are squared."""


def distance_to(
    seeds: Bool[Array, "b *spatial k"], spacing: tuple[float, ...] | None = None
) -> Float[Array, "b *spatial k"]:
    """Distance of each pixel to the nearest seed of its example and class; 0 without a seed.

    ``spacing`` is the distance of neighbours on each spatial axis (None: 1). Memory: two distance
    maps. scipy's ``distance_transform_edt(x)`` is ``distance_to(~x)``, but has an arbitrary value
    without a seed.
    """
    steps = _steps(spacing, seeds.ndim - 2)
    squared = (_counted(seeds, 1) * steps[0]) ** 2
    for axis, step in enumerate(steps[1:], start=2):
        squared = _along(squared, axis, step)
    return _root(squared)


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


def distance_out(
    number: Int[Array, " b *spatial"],
    counts: Bool[Array, " b *spatial"],
    spacing: tuple[float, ...] | None = None,
) -> Float[Array, " b *spatial"]:
    """Distance of each pixel that counts to the nearest that counts with another number; else 0.

    The work is that of three maps, however many numbers there are.
    """
    steps = _steps(spacing, number.ndim - 1)
    found = _counted_out(number, counts)
    found = (found[0] * steps[0]) ** 2, found[1], (found[2] * steps[0]) ** 2
    for axis, step in enumerate(steps[1:], start=2):
        found = _along_out(found, axis, step)
    return jnp.where(counts, _root(found[2]), 0.0)  # of these, the nearest is the pixel itself


def _steps(spacing: tuple[float, ...] | None, rank: int) -> Sequence[float]:
    steps = (1.0,) * rank if spacing is None else spacing
    right = len(steps) == rank and all(step > 0 for step in steps)
    require(right, "spacing", spacing, f"{rank} positive numbers, the image's rank")
    return steps


def _root(squared: Array) -> Array:
    return jax.lax.stop_gradient(jnp.sqrt(jnp.where(jnp.isfinite(squared), squared, 0.0)))


@functools.partial(jax.jit, static_argnames="axis")  # else traced again at each call
def _counted(seeds: Bool[Array, "b *spatial k"], axis: int) -> Float[Array, "b *spatial k"]:
    """Pixels to the nearest seed on one axis, infinity where there is none."""
    lines = jnp.moveaxis(seeds, axis, 0)
    distance = jax.lax.platform_dependent(lines, cpu=_by_rows, default=_by_doubling)
    return jnp.moveaxis(distance, 0, axis)


def _by_doubling(lines: Bool[Array, "n ..."]) -> Float[Array, "n ..."]:
    place = _places(lines, 1.0)[1]
    before = jax.lax.cummax(jnp.where(lines, place, -jnp.inf), axis=0)
    after = jax.lax.cummin(jnp.where(lines, place, jnp.inf), axis=0, reverse=True)
    return jnp.minimum(place - before, after - place)


def _by_rows(lines: Bool[Array, "n ..."]) -> Float[Array, "n ..."]:
    def next_pixel(distance: Array, seed: Array) -> tuple[Array, Array]:
        distance = jnp.where(seed, 0.0, distance + 1.0)
        return distance, distance

    far = jnp.full_like(lines[0], jnp.inf, jnp.float32)
    before, after = (
        jax.lax.scan(next_pixel, far, lines, reverse=reverse)[1] for reverse in (False, True)
    )
    return jnp.minimum(before, after)


@functools.partial(jax.jit, static_argnames=("axis", "step"))
def _along(squared: Float[Array, "b *spatial k"], axis: int, step: float) -> Array:
    """``out[i] = min_j squared[j] + ((i - j) step)^2`` on one axis."""
    lines = jnp.moveaxis(squared, axis, 0)
    place, column = _places(lines, step)

    # A source pixel at a time: [n n] costs never stand in memory, and the batch stays sharded.
    def nearer(best: Array, source: tuple[Array, Array]) -> tuple[Array, None]:
        value, at = source
        return jnp.minimum(best, value[None] + (column - at) ** 2), None

    best, _ = jax.lax.scan(nearer, jnp.full_like(lines, jnp.inf), (lines, place), unroll=UNROLL)
    return jnp.moveaxis(best, 0, axis)


def _places(lines: Array, step: float) -> tuple[Array, Array]:
    place = step * jnp.arange(len(lines), dtype=jnp.float32)
    return place, place.reshape(-1, *(1,) * (lines.ndim - 1))


def _merged(a: Nearest, b: Nearest) -> Nearest:
    same, closer = a[1] == b[1], b[0] < a[0]
    # With two classes, the nearest of the farther class comes before either side's other.
    other = jnp.where(closer, jnp.minimum(a[0], b[2]), jnp.minimum(a[2], b[0]))
    other = jnp.where(same, jnp.minimum(a[2], b[2]), other)
    return jnp.minimum(a[0], b[0]), jnp.where(closer, b[1], a[1]), other


@jax.jit
def _counted_out(number: Int[Array, " b *spatial"], counts: Bool[Array, " b *spatial"]) -> Nearest:
    """The `Nearest` of each pixel along the first spatial axis, distances in pixels."""
    lines = jnp.moveaxis(number, 1, 0), jnp.moveaxis(counts, 1, 0)
    found = jax.lax.platform_dependent(*lines, cpu=_out_by_rows, default=_out_by_doubling)
    nearest, name, other = (jnp.moveaxis(x, 0, 1) for x in found)
    return nearest, name, other


def _out_by_doubling(numbers: Int[Array, "n ..."], counting: Bool[Array, "n ..."]) -> Nearest:
    place = jnp.broadcast_to(_places(numbers, 1.0)[1], numbers.shape)

    def sweep(place: Array) -> Nearest:
        """Place and class of each pixel's nearest looking back, and place of another class."""

        def joined(far: Nearest, near: Nearest) -> Nearest:
            other = jnp.where(far[1] == near[1], far[2], far[0])
            name = jnp.where(near[0] > -jnp.inf, near[1], far[1])
            other = jnp.where(near[0] > -jnp.inf, jnp.maximum(near[2], other), far[2])
            return jnp.maximum(near[0], far[0]), name, other

        nowhere = jnp.full(place.shape, -jnp.inf)
        begin = jnp.where(counting, place, -jnp.inf), numbers, nowhere
        return jax.lax.associative_scan(joined, begin)

    def distances(found: Nearest, place: Array) -> Nearest:
        return place - found[0], found[1], place - found[2]

    before = distances(sweep(place), place)
    numbers, counting = numbers[::-1], counting[::-1]
    nearest, name, other = distances(sweep(place), place)
    return _merged(before, (nearest[::-1], name[::-1], other[::-1]))


def _out_by_rows(numbers: Int[Array, "n ..."], counting: Bool[Array, "n ..."]) -> Nearest:
    def next_pixel(carry: Nearest, pixel: tuple[Array, Array]) -> tuple[Nearest, Nearest]:
        own, some = pixel
        nearest, name, other = carry[0] + 1.0, carry[1], carry[2] + 1.0
        found = (
            jnp.where(some, 0.0, nearest),
            jnp.where(some, own, name),
            jnp.where(some & (name != own), nearest, other),
        )
        return found, found

    far = jnp.full_like(numbers[0], jnp.inf, jnp.float32)
    begin = far, numbers[0], far
    before, after = (
        jax.lax.scan(next_pixel, begin, (numbers, counting), reverse=reverse)[1]
        for reverse in (False, True)
    )
    return _merged(before, after)


@functools.partial(jax.jit, static_argnames=("axis", "step"))
def _along_out(found: Nearest, axis: int, step: float) -> Nearest:
    lines = [jnp.moveaxis(x, axis, 0) for x in found]
    place, column = _places(lines[0], step)

    def nearer(best: Nearest, source: tuple[Array, ...]) -> tuple[Nearest, None]:
        nearest, name, other, at = source
        way = (column - at) ** 2
        here = nearest[None] + way, jnp.broadcast_to(name, best[1].shape), other[None] + way
        return _merged(best, here), None

    far = jnp.full_like(lines[0], jnp.inf)
    best, _ = jax.lax.scan(nearer, (far, lines[1], far), (*lines, place), unroll=UNROLL)
    nearest, name, other = (jnp.moveaxis(x, 0, axis) for x in best)
    return nearest, name, other
