"""Dense CRF: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials.

Krähenbühl & Koltun 2011, https://arxiv.org/abs/1210.5644

Every pixel is joined with every other by two Gaussian kernels, of places and of places and colours,
and ``iterations`` of mean field make of logits others that follow the image's edges:

    Q = softmax(logits);  Q <- softmax(logits + sum_m w_m N_m[K_m Q])

Differs from the paper, as all released code does: a pixel is joined with itself as well.

The kernel of places is exact: it is a product of one matrix an axis. That of colours is exact too
(``exact``: all pairs of pixels, a block at a time, n^2 numbers that are never stored), or that of
the paper's permutohedral lattice (Adams, Baek, Davis 2010), which is an approximation, linear in
the number of pixels. Measured on two loaded CPU cores (``benchmarks/crf.py``, 21 classes,
ten iterations): 0.087 s by the lattice and 0.36 s by all pairs for 64 x 64, 99.9 % of labels alike;
for 512 x 512 3.4 s by the lattice, and 1.9 s by pydensecrf's C++, which labels every pixel as the
lattice does.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxseg.errors import UserError, require

Filter = Callable[[Array], Array]
"""A linear map of ``[pixels k]``."""

BLOCK = 2**22
"""Pairs of pixels that the exact kernel has at once."""

SMALL = 1e-20
"""What is added to a sum of kernel values before it divides, as in the released code."""


@dataclass(frozen=True, kw_only=True)
class DenseCRF:
    """Places in pixels, colours of 0 to 255. The defaults are DeepLab v2's for ResNet-101.

    ``weight_place`` and ``place`` are weight and deviation of the smoothing kernel, ``weight`` and
    ``far``, ``colour`` weight and deviations (of places, of colours) of the bilateral one.
    ``symmetric`` divides each message by the roots of both pixels' sums of kernel values
    (pydensecrf); ``after`` by the sum of the pixel that gets it (DeepLab's library, CRF-RNN).
    """

    iterations: int = 10
    weight_place: float = 3.0
    place: float = 1.0
    weight: float = 4.0
    far: float = 67.0
    colour: float = 3.0
    normalise: Literal["symmetric", "after"] = "symmetric"
    kernel: Literal["lattice", "exact"] = "lattice"

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require(self.iterations >= 0, "crf.iterations", self.iterations, "at least 0")
        for name in ("weight_place", "weight"):
            require(getattr(self, name) >= 0, f"crf.{name}", getattr(self, name), "at least 0")
        for name in ("place", "far", "colour"):
            require(getattr(self, name) > 0, f"crf.{name}", getattr(self, name), "above 0")

    def __call__(
        self,
        logits: Float[Array, "b *s k"],
        image: Float[Array, "b *s c"],
        valid: Bool[Array, " b *s"] | None = None,
    ) -> Float[Array, "b *s k"]:
        """Logits of the last iteration's Q.

        ``image`` is in 0 to 255; pixels that are not ``valid`` say nothing to the others. UserError
        for volumes.
        """
        check_rank(logits.ndim - 2)
        valid = jnp.ones(logits.shape[:3], bool) if valid is None else valid

        def one(given: tuple[Array, Array, Array]) -> Array:
            unary = given[0].reshape(-1, given[0].shape[-1])

            def inferred(near: Filter, far: Filter) -> Array:
                def turn(_: Any, now: Array) -> Array:
                    q = jax.nn.softmax(now)
                    return unary + self.weight_place * near(q) + self.weight * far(q)

                return jax.lax.fori_loop(0, self.iterations, turn, unary)

            return with_messages(self, *given[1:], inferred).reshape(given[0].shape)

        return jax.lax.map(one, (logits.astype(jnp.float32), image, valid))


def check_rank(rank: int) -> None:
    """Refuse images that are not of two axes."""
    if rank != 2:
        raise UserError(f"crf: is of 2-D images, and these have {rank} axes; use crf=None")


def with_messages(
    how: DenseCRF,
    image: Float[Array, "h w c"],
    valid: Bool[Array, "h w"],
    run: Callable[[Filter, Filter], Array],
) -> Array:
    """What ``run`` makes of the normalised filters by places, and by places and colours.

    Filters take ``[pixels k]``. It is compiled twice with the lattice, whose number of points is
    known on the device alone: for as many as pixels, which most often suffice, and for all cases.
    """
    h, w, _ = image.shape
    rows, columns = jnp.mgrid[:h, :w].astype(jnp.float32)
    places = jnp.stack([columns, rows], -1)  # x first, as the released code has its features
    features = jnp.concatenate([places / how.far, image / how.colour], -1).reshape(h * w, -1)
    mask = valid.reshape(-1, 1).astype(jnp.float32)
    near = _normalised(_by_place((h, w), how.place), how, mask)
    if how.kernel == "exact":
        return run(near, _normalised(_exact(features), how, mask))
    _check_room((w / how.far, h / how.far, *(255 / how.colour,) * image.shape[-1]))
    lattice = _lattice(features)
    few, many = (
        functools.partial(_on_lattice, lattice, room) for room in (h * w, lattice.numbers.size)
    )
    return jax.lax.cond(
        lattice.count <= h * w,
        lambda: run(near, _normalised(few(), how, mask)),
        lambda: run(near, _normalised(many(), how, mask)),
    )


def _check_room(largest: tuple[float, ...]) -> None:
    """Refuse features up to ``largest`` whose keys would not fit in 16 bits."""
    d = len(largest)
    scale = [math.sqrt(2 / 3) * (d + 1) / math.sqrt((i + 1) * (i + 2)) for i in range(d)]
    scaled = [f * s for f, s in zip(largest, scale, strict=True)]
    furthest = sum(scaled) + max(j * f for j, f in enumerate(scaled, start=1)) + 2 * (d + 1)
    if furthest >= 2**15:
        raise UserError(
            "crf: far and colour are too small for the lattice on images of this size; use "
            'larger ones, or kernel="exact"'
        )


def _normalised(run: Filter, how: DenseCRF, mask: Array) -> Filter:
    total = run(mask) + SMALL
    if how.normalise == "after":
        return lambda q: run(mask * q) / total
    root = jax.lax.rsqrt(total)
    return lambda q: root * run(mask * root * q)


def _by_place(size: tuple[int, int], deviation: float) -> Filter:
    """``exp(-|x - y|^2 / 2 s^2)`` of all pairs: a matrix an axis."""

    def matrix(n: int) -> Array:
        apart = (jnp.arange(n)[:, None] - jnp.arange(n)[None]) / deviation
        return jnp.exp(-0.5 * apart**2)

    rows, columns = map(matrix, size)

    def run(q: Array) -> Array:
        maps = q.reshape(*size, -1)
        maps = jnp.einsum("ij,jwk->iwk", rows, maps, precision="highest")
        return jnp.einsum("ij,hjk->hik", columns, maps, precision="highest").reshape(q.shape)

    return run


def _exact(features: Float[Array, "n d"]) -> Filter:
    """``exp(-|f - g|^2 / 2)`` of all pairs, a block of pixels after another."""
    n, d = features.shape
    block = max(1, min(n, BLOCK // n))
    count = -(-n // block)
    padded = jnp.pad(features, [(0, count * block - n), (0, 0)]).reshape(count, block, d)

    def run(q: Array) -> Array:
        def some(mine: Array) -> Array:
            apart = sum((mine[:, None, i] - features[None, :, i]) ** 2 for i in range(d))
            return jnp.dot(jnp.exp(-0.5 * apart), q, precision="highest")

        return jax.lax.map(some, padded).reshape(count * block, -1)[:n]

    return run


# --- the permutohedral lattice --------------------------------------------------------------------


class _Lattice(NamedTuple):
    """The simplex around each pixel: its corners, and which of the lattice's points they are."""

    keys: Array
    """``[n d+1 d]``: the corners' coordinates."""
    weights: Array
    """``[n d+1]``: the pixel's barycentric coordinates."""
    points: Array
    """``[n d+1]``: numbers of points."""
    order: Array
    """``[n (d+1)]``: sorts the corners by number."""
    numbers: Array
    """``[n (d+1)]``: the numbers of the sorted corners."""
    count: Array
    """How many points there are."""


def _lattice(features: Float[Array, "n d"]) -> _Lattice:
    keys, weights = _corners(features)
    order, numbers, count = _numbered(_words(keys.reshape(-1, keys.shape[-1])))
    points = jnp.zeros_like(numbers).at[order].set(numbers).reshape(weights.shape)
    return _Lattice(keys, weights, points, order, numbers, count)


def _on_lattice(lattice: _Lattice, room: int) -> Filter:
    """The filter with arrays of ``room`` points: splat, blur along each axis, slice."""
    n, d = lattice.keys.shape[0], lattice.keys.shape[-1]
    keys = jnp.zeros((room, d), jnp.int32)
    keys = keys.at[lattice.points.reshape(-1)].set(lattice.keys.reshape(-1, d), mode="drop")
    around = _neighbours(keys, lattice.count)  # [d+1 2 room]
    weights, points = lattice.weights, lattice.points

    def blur(values: Array, sides: Array) -> tuple[Array, None]:
        sum_of_sides = values[sides[0]] + values[sides[1]]
        return values.at[:room].add(0.5 * sum_of_sides), None

    def run(q: Array) -> Array:
        shares = (weights[..., None] * q[:, None]).reshape(n * (d + 1), -1)
        values = jax.ops.segment_sum(
            shares[lattice.order], lattice.numbers, room + 1, indices_are_sorted=True, mode="drop"
        )
        values = values.at[room].set(0)  # what a neighbour that is not there has
        values, _ = jax.lax.scan(blur, values, around)
        taken = jnp.zeros_like(q)
        for corner in range(d + 1):
            taken = taken + weights[:, corner, None] * values[points[:, corner]]
        return taken / (1 + 2.0**-d)

    return run


def _corners(features: Array) -> tuple[Array, Array]:
    """Keys and weights of the corners of the lattice's simplex around each feature."""
    n, d = features.shape
    steps = jnp.arange(d)
    scale = math.sqrt(2 / 3) * (d + 1) / jnp.sqrt((steps + 1.0) * (steps + 2.0))
    scaled = features * scale[None]
    # e_j = (sum of those behind j) - j x_j: elevated into the plane of sum 0
    behind = jnp.cumsum(scaled[:, ::-1], axis=1)[:, ::-1]
    above = jnp.concatenate([behind, jnp.zeros((n, 1))], 1)
    elevated = above - jnp.arange(d + 1)[None] * jnp.concatenate([jnp.zeros((n, 1)), scaled], 1)
    up = jnp.ceil(elevated / (d + 1)) * (d + 1)
    down = jnp.floor(elevated / (d + 1)) * (d + 1)
    base = jnp.where(up - elevated < elevated - down, up, down)
    excess = jnp.round(base.sum(1) / (d + 1)).astype(jnp.int32)
    left, axes = elevated - base, jnp.arange(d + 1)
    less = left[:, :, None] < left[:, None, :]  # [n i j]
    later, earlier = axes[None, :] > axes[:, None], axes[None, :] < axes[:, None]
    before = (less & later[None]) | (~less.swapaxes(1, 2) & earlier[None])
    rank = before.sum(2) + excess[:, None]
    shift = jnp.where(rank < 0, d + 1, 0) - jnp.where(rank > d, d + 1, 0)
    rank, base = rank + shift, base + shift
    share = (elevated - base) / (d + 1)
    at = jax.nn.one_hot(d - rank, d + 2) - jax.nn.one_hot(d - rank + 1, d + 2)
    weights = (at * share[:, :, None]).sum(1)
    weights = weights[:, : d + 1].at[:, 0].add(1 + weights[:, d + 1])
    corner = axes[None, :, None]
    moved = jnp.where(rank[:, None, :] <= d - corner, corner, corner - (d + 1))
    keys = base.astype(jnp.int32)[:, None, :] + moved
    return keys[..., :d], weights


def _words(keys: Array) -> tuple[Array, ...]:
    """Keys ``[m d]`` of 16 bits a coordinate, two in a word, so that they can be sorted."""
    halves = (keys + 2**15).astype(jnp.uint32)
    if halves.shape[1] % 2:
        halves = jnp.pad(halves, [(0, 0), (0, 1)])
    return tuple(halves[:, ::2].T << 16 | halves[:, 1::2].T)


def _numbered(words: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """The order that sorts keys, the number of each distinct one in it, and how many there are."""
    numbered = (*words, jnp.arange(len(words[0])))
    *ordered, order = jax.lax.sort(numbered, num_keys=len(words))
    new = functools.reduce(jnp.logical_or, [word[1:] != word[:-1] for word in ordered])
    number = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(new.astype(jnp.int32))])
    return order, number, number[-1] + 1


def _neighbours(keys: Array, count: Array) -> Array:
    """The numbers of the points before and after each along each axis; ``room`` where none is.

    ``keys [room d]`` are the distinct ones, sorted, of which ``count`` count.
    """
    room, d = keys.shape
    words = _words(keys)
    found = []
    for axis in range(d + 1):
        step = jnp.ones(d, jnp.int32).at[axis].set(-d, mode="drop")
        found.append([_search(words, _words(keys + side * step[None]), count) for side in (-1, 1)])
    return jnp.stack([jnp.stack(pair) for pair in found])


def _search(words: tuple[Array, ...], wanted: tuple[Array, ...], count: Array) -> Array:
    """The place of each wanted key among the first ``count``; ``room`` where it is not."""
    room = len(words[0])
    first, last = jnp.zeros(room, jnp.int32), jnp.full(room, count, jnp.int32)

    def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        first, last = bounds
        middle = (first + last) // 2
        less, same = jnp.zeros(room, bool), jnp.ones(room, bool)
        for have, want in zip(words, wanted, strict=True):
            here = have[middle]
            less, same = less | (same & (here < want)), same & (here == want)
        open_ = first < last
        return jnp.where(open_ & less, middle + 1, first), jnp.where(open_ & ~less, middle, last)

    place, _ = jax.lax.fori_loop(0, room.bit_length() + 1, halve, (first, last))
    hit = functools.reduce(
        jnp.logical_and, [h[place] == w for h, w in zip(words, wanted, strict=True)]
    )
    return jnp.where(hit & (place < count), place, room)
