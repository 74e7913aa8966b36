"""Augmentation on the accelerator: batched, inside the jitted step, another draw for each example.

The U-Net's own (Ronneberger et al. 2015, section 3.1: elastic deformation from random displacements
on a coarse 3 x 3 grid with a standard deviation of 10 pixels, bicubic in between) and what nnU-Net
added to it. One code for 2-D and 3-D. Every example is transformed alone, so that under a mesh the
rows of a batch stay where they are.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jaxseg.errors import UserError, require
from jaxseg.types import BATCH_FIELDS, IGNORE, SPATIAL, Batch, Role

Outside = Literal["reflect", "zero"]


@dataclass(frozen=True)
class Augment:
    """What varies and how much; the defaults vary nothing, and what is off costs nothing.

    *Geometry.* ``flip`` and ``transpose`` (of the last two spatial axes, which must be equally
    long) are probabilities and exact. ``rotate`` is the largest angle in degrees (3-D: about each
    axis in turn), ``scale`` the range of the zoom (2.0 doubles an object), ``elastic`` the standard
    deviation, in pixels, of displacements at ``grid`` points an axis. These three are one
    resampling, linear for image and weight, nearest for label and instance. What comes from
    outside the image is IGNORE in label and instance and 0 in weight; the image goes on there by
    reflection or with 0.

    *Intensity*, in the units of the image and after the geometry: ``contrast`` is the range of the
    gain about each channel's mean, ``brightness`` the largest offset, ``gamma`` the range of the
    exponent (of the image scaled to its own minimum and maximum, as in nnU-Net), ``blur`` and
    ``noise`` the largest standard deviations of a Gaussian kernel in pixels and of additive noise.
    Values are not clipped. All draws are uniform in their range (``scale``, ``gamma``: uniform in
    the logarithm); ``flip`` and ``rotate`` take one number, or one an axis.
    """

    flip: float | tuple[float, ...] = 0.0
    transpose: float = 0.0
    rotate: float | tuple[float, ...] = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    elastic: float = 0.0
    grid: int = 3
    outside: Outside = "reflect"
    contrast: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    gamma: tuple[float, float] = (1.0, 1.0)
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse impossible ranges."""
        for name in ("flip", "transpose"):
            fine = all(0 <= p <= 1 for p in _tuple(getattr(self, name)))
            self._require(fine, name, "a probability, in [0, 1]")
        for name in ("rotate", "elastic", "brightness", "blur", "noise"):
            fine = all(value >= 0 for value in _tuple(getattr(self, name)))
            self._require(fine, name, "at least 0")
        for name in ("scale", "contrast", "gamma"):
            low, high = getattr(self, name)
            self._require(0 < low <= high, name, "(low, high) with 0 < low <= high")
        self._require(self.grid >= 2, "grid", "at least 2")
        self._require(self.outside in get_args(Outside), "outside", f"one of {get_args(Outside)}")

    def __call__(self, rng: jax.Array, batch: Batch) -> Batch:
        """The batch with every example transformed; ``rng`` alone fixes the result.

        Its ``streams`` stay as they are: each has rows of its own, and a recipe may want them
        seen in two ways. Raises UserError where a geometry would move the image and leave its
        objects behind.
        """
        if batch.objects is not None and self.moves:
            raise UserError(
                "recipe.augment: flips, rotations, zoom and displacements do not move objects yet; "
                "leave them out for data with objects"
            )
        rows = jax.tree.map(jnp.asarray, batch._replace(streams=None))
        keys = jax.random.split(rng, batch.image.shape[0])
        return jax.vmap(self._example)(keys, rows)._replace(streams=batch.streams)

    @property
    def moves(self) -> bool:
        """Whether a pixel may come to lie elsewhere."""
        return any((*_tuple(self.flip), self.transpose)) or self._warps

    @property
    def _warps(self) -> bool:
        return any(_tuple(self.rotate)) or self.scale != (1.0, 1.0) or self.elastic > 0

    def _example(self, key: jax.Array, example: Batch) -> Batch:
        """One row of a batch, which has no leading axis, transformed."""
        # Each part has its key whatever else is on: adding noise does not change the flips.
        warp_key, flip_key, intensity_key = jax.random.split(key, 3)
        size = example.label.shape
        flips, swap = self._flips(flip_key, size)
        if self._warps:
            where = self._coordinates(warp_key, size, flips, swap)
            example = _warp(example, where, self.outside)
        else:
            for axis, draw in flips.items():
                example = _choose(draw, functools.partial(jnp.flip, axis=axis), example)
            if swap is not None:
                last = dict(axis1=len(size) - 2, axis2=len(size) - 1)
                example = _choose(swap, functools.partial(jnp.swapaxes, **last), example)
        image = self._intensity(intensity_key, jnp.asarray(example.image))
        return example._replace(image=image.astype(example.image.dtype))

    def _flips(
        self, key: jax.Array, size: tuple[int, ...]
    ) -> tuple[dict[int, jax.Array], jax.Array | None]:
        """Whether to flip each axis that may be flipped, and to swap the last two."""
        square = not self.transpose or size[-1] == size[-2]
        self._require(square, "transpose", f"0 for images that are not square, such as {size}")
        chances = (*self._numbers("flip", len(size)), self.transpose)
        draws = jax.random.uniform(key, (len(chances),)) < jnp.asarray(chances, jnp.float32)
        flips = {axis: draws[axis] for axis, chance in enumerate(chances[:-1]) if chance}
        return flips, draws[-1] if self.transpose else None

    def _coordinates(
        self,
        key: jax.Array,
        size: tuple[int, ...],
        flips: dict[int, jax.Array],
        swap: jax.Array | None,
    ) -> list[Float[Array, "..."]]:
        """Where each output pixel comes from: rotation, zoom, flips and displacement in one."""
        rank = len(size)
        rotate_key, scale_key, elastic_key = jax.random.split(key, 3)
        planes = math.comb(rank, 2)
        largest = np.radians(self._numbers("rotate", planes))
        angles = jax.random.uniform(rotate_key, (planes,), minval=-1.0) * largest
        matrix = rotation(angles, rank) / _log_uniform(scale_key, self.scale)
        # Flips go into the matrix: XLA would fuse the resampling into a flip that follows it, and
        # resample once for either outcome on each axis (eight times the work in 3-D).
        for axis, draw in flips.items():
            matrix = matrix.at[:, axis].multiply(jnp.where(draw, -1.0, 1.0))
        if swap is not None:
            swapped = matrix[:, (*range(rank - 2), rank - 1, rank - 2)]
            matrix = jnp.where(swap, swapped, matrix)
        where = affine(matrix, size)
        if self.elastic:
            points = self.elastic * jax.random.normal(elastic_key, (rank, *(self.grid,) * rank))
            where = [x + smooth(d, size) for x, d in zip(where, points, strict=True)]
        return where

    def _intensity(self, key: jax.Array, image: Float[Array, "*spatial c"]) -> Array:
        gain_key, offset_key, gamma_key, blur_key, level_key, noise_key = jax.random.split(key, 6)
        pixels = tuple(range(image.ndim - 1))
        if self.contrast != (1.0, 1.0):
            low, high = self.contrast
            mean = image.mean(pixels, keepdims=True)
            image = mean + (image - mean) * jax.random.uniform(
                gain_key, (), minval=low, maxval=high
            )
        if self.brightness:
            image = image + self.brightness * jax.random.uniform(offset_key, (), minval=-1.0)
        if self.gamma != (1.0, 1.0):
            low = image.min(pixels, keepdims=True)
            spread = jnp.maximum(image.max(pixels, keepdims=True) - low, 1e-7)
            image = low + spread * ((image - low) / spread) ** _log_uniform(gamma_key, self.gamma)
        if self.blur:
            image = gaussian(image, self.blur * jax.random.uniform(blur_key), self.blur)
        if self.noise:
            level = self.noise * jax.random.uniform(level_key)
            image = image + level * jax.random.normal(noise_key, image.shape)
        return image

    def _numbers(self, name: str, count: int) -> tuple[float, ...]:
        numbers = _tuple(getattr(self, name))
        self._require(len(numbers) in (1, count), name, f"one number, or {count}")
        return numbers * count if len(numbers) == 1 else numbers

    def _require(self, holds: bool, name: str, what: str) -> None:
        require(holds, f"recipe.augment.{name}", getattr(self, name), what)


def rotation(angles: Float[Array | np.ndarray, " planes"], rank: int) -> Float[Array, "r r"]:
    """The product of rotations, in radians, about axes 0, 1, 2 (2-D: in the one plane)."""
    matrix = jnp.eye(rank)
    planes = reversed(list(itertools.combinations(range(rank), 2)))
    for angle, (i, j) in zip(jnp.asarray(angles), planes, strict=True):
        turn = jnp.eye(rank).at[i, i].set(jnp.cos(angle)).at[j, j].set(jnp.cos(angle))
        turn = turn.at[i, j].set(-jnp.sin(angle)).at[j, i].set(jnp.sin(angle))
        matrix = jnp.matmul(matrix, turn, precision="highest")
    return matrix


def affine(matrix: Float[Array, "r r"], size: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """Source coordinates ``matrix (x - centre) + centre``, one map an axis, in pixels."""
    middle = [(n - 1) / 2 for n in size]
    axes = jnp.meshgrid(*(jnp.arange(n) - m for n, m in zip(size, middle, strict=True)),
                        indexing="ij", sparse=True)  # fmt: skip
    # Sums of products, not a matrix product, which accelerators round to bfloat16 or TF32.
    return [
        sum((row[j] * x for j, x in enumerate(axes)), jnp.full((1,) * len(size), m))
        for row, m in zip(matrix, middle, strict=True)
    ]


def smooth(points: Float[Array, "..."], size: tuple[int, ...]) -> Float[Array, "..."]:
    """Cubic (Catmull-Rom) interpolation of a coarse grid whose corners are those of the image."""
    for axis, n in enumerate(size):
        weights = jnp.asarray(_cubic(points.shape[axis], n), jnp.float32)
        points = jnp.moveaxis(
            jnp.tensordot(weights, points, axes=(1, axis), precision="highest"), 0, axis
        )
    return points


def linear(
    x: Float[Array, "*spatial c"], where: Sequence[Float[Array, "..."]], outside: Outside
) -> Float[Array, "..."]:
    """``x`` at fractional coordinates: the ``2^rank`` neighbours, one index for all channels."""
    size = x.shape[:-1]
    flat = x.reshape(-1, x.shape[-1])
    steps = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
    taps = [_taps(at, n, outside) for at, n in zip(where, size, strict=True)]
    total = jnp.zeros((), x.dtype)
    for corner in itertools.product(*taps):
        index = sum(i * step for (i, _), step in zip(corner, steps, strict=True))
        weight = math.prod(w for _, w in corner)
        total = total + jnp.asarray(weight)[..., None] * flat.at[index].get(mode="clip")
    return total


def nearest(
    x: Num[Array, "*spatial"], where: Sequence[Float[Array, "..."]], outside: int
) -> Num[Array, "..."]:
    """``x`` at the pixel that each coordinate falls in; the value ``outside`` beyond the edges."""
    index, inside = jnp.zeros((), jnp.int32), jnp.ones((), bool)
    for at, n in zip(where, x.shape, strict=True):
        pixel = jnp.floor(at + 0.5).astype(jnp.int32)
        inside = inside & (pixel >= 0) & (pixel < n)
        index = index * n + jnp.clip(pixel, 0, n - 1)
    return jnp.where(inside, x.reshape(-1).at[index].get(mode="clip"), outside)


def gaussian(
    image: Float[Array, "*spatial c"], sigma: Float[Array, ""], largest: float
) -> Float[Array, "*spatial c"]:
    """Blur by ``sigma`` pixels, at most ``largest``, which fixes the kernel's width (3 sigma).

    At the borders, the weighted mean of the pixels that are there.
    """
    radius = math.ceil(3 * largest)
    offsets = np.arange(-radius, radius + 1)
    kernel = jnp.exp(-0.5 * (jnp.asarray(offsets, jnp.float32) / jnp.maximum(sigma, 1e-3)) ** 2)
    for axis in range(image.ndim - 1):
        n = image.shape[axis]
        padded = jnp.pad(image, [(radius * (a == axis),) * 2 for a in range(image.ndim)])

        # Shifted sums: a convolution with another kernel for each example is slow everywhere.
        # In a loop, since XLA fuses what made the image into each shift and computes it as often.
        def add(i: Array, total: Array, padded=padded, axis=axis, n=n) -> Array:
            return total + kernel[i] * jax.lax.dynamic_slice_in_dim(padded, i, n, axis)

        total = jax.lax.fori_loop(0, 2 * radius + 1, add, jnp.zeros_like(image))
        source = np.arange(n)[:, None] + offsets
        there = jnp.asarray((source >= 0) & (source < n), jnp.float32)
        share = (there * kernel[None]).sum(1)
        image = total / share.reshape([n if a == axis else 1 for a in range(image.ndim)])
    return image


def _maps(example: Batch, move: Callable[[Array, Role], Array]) -> Batch:
    """The example with ``move(map, role)`` of every field with spatial axes."""
    moved = {}
    for name, role in BATCH_FIELDS.items():
        value = getattr(example, name)
        if role in SPATIAL and value is not None:
            moved[name] = move(jnp.asarray(value), role)
    return example._replace(**moved)


def _warp(example: Batch, where: list[Array], outside: Outside) -> Batch:
    def resampled(x: Array, role: Role) -> Array:
        if role == "classes":
            return nearest(x, where, IGNORE)
        if role == "factor":
            return linear(x[..., None], where, "zero")[..., 0]
        return linear(x, where, outside)

    return _maps(example, resampled)


def _taps(at: Array, n: int, outside: Outside) -> list[tuple[Array, Array]]:
    """Index and weight of the two neighbours along an axis of ``n`` pixels."""
    if outside == "reflect":  # about the middle of the outermost pixel
        at = jnp.mod(jnp.abs(at), max(2 * (n - 1), 1))
        at = jnp.minimum(at, 2 * (n - 1) - at) if n > 1 else jnp.zeros_like(at)
    low = jnp.floor(at)
    taps = []
    for pixel, weight in ((low, 1.0 - (at - low)), (low + 1.0, at - low)):
        inside = (pixel >= 0) & (pixel < n)
        taps.append((jnp.clip(pixel, 0, n - 1).astype(jnp.int32), jnp.where(inside, weight, 0.0)))
    return taps


def _cubic(points: int, n: int) -> np.ndarray:
    """Weights ``[n points]`` of Keys' cubic kernel (a = -1/2), border points repeated."""
    weights = np.zeros((n, points))
    at = np.linspace(0, points - 1, n) if n > 1 else np.full(1, (points - 1) / 2)
    first = np.floor(at).astype(int)
    for shift in (-1, 0, 1, 2):
        d = np.abs(at - (first + shift))
        near = (1.5 * d - 2.5) * d * d + 1
        far = ((-0.5 * d + 2.5) * d - 4) * d + 2
        weight = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
        np.add.at(weights, (np.arange(n), np.clip(first + shift, 0, points - 1)), weight)
    return weights


def _choose(draw: Array, transform: Callable[[Array], Array], example: Batch) -> Batch:
    return _maps(example, lambda x, _: jnp.where(draw, transform(x), x))


def _log_uniform(key: jax.Array, bounds: tuple[float, float]) -> Float[Array, ""]:
    low, high = (math.log(bound) for bound in bounds)
    return jnp.exp(jax.random.uniform(key, (), minval=low, maxval=high))


def _tuple(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
