"""The grid of voxels that a network sees: cropped and resampled, and where it lies in a case's own.

As nnU-Net prepares images (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z): what
is not zero is cut out, normalised, and then resampled to one spacing, cubic in the plane and by the
nearest slice across it where slices lie far apart. The way back is `jaxseg.ops.regrid`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxseg.errors import UserError, require
from jaxseg.types import Role

Spatial = tuple[int, ...]

ORDERS: dict[Role, int] = {"image": 3, "classes": 0, "factor": 1}
"""Order of the spline by which a map is resampled."""


class Place(NamedTuple):
    """Where the grid of a network's image lies in that of its case.

    Its ``size`` voxels cover those from ``start`` to ``stop`` of the case's ``shape``, along each
    axis. ``apart``: axes along which the nearest voxel is taken.
    """

    shape: Spatial
    start: Spatial
    stop: Spatial
    size: Spatial
    apart: Spatial

    @property
    def box(self) -> tuple[slice, ...]:
        """The part of the case's own grid that the network sees."""
        return tuple(slice(*ends) for ends in zip(self.start, self.stop, strict=True))

    def array(self) -> Int[np.ndarray, "5 rank"]:
        """The place as one array, for a cache; `of` reads it."""
        return np.asarray(self, np.int32)

    @classmethod
    def of(cls, array: Int[np.ndarray, "5 rank"]) -> "Place":
        """The place that `array` gave."""
        return cls(*(tuple(row) for row in np.asarray(array).tolist()))

    def shown(self, image: Shaped[np.ndarray, "*size c"]) -> Shaped[np.ndarray, "*shape c"]:
        """The network's image in the case's grid by the nearest voxel, 0 around it: for the eye."""
        whole = np.zeros((*self.shape, image.shape[-1]), image.dtype)
        inside = tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))
        whole[self.box] = _nearest(image, inside)
        return whole


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How cases are brought to one grid before they are cut into patches or windows.

    ``spacing``: millimetres between voxels, one for each axis; None leaves each case its own.
    ``crop``: the box of what is not 0 in any channel is cut out; intensities are then normalised
    by it alone. Around it the prediction is class 0.
    ``anisotropy``: where the widest spacing of a case, or of the grid, is more than so many times
    the closest, maps are resampled in the plane, and by the nearest slice across it.

    Images are resampled by cubic splines, labels by the class whose linear share is largest (of
    equal shares the later; nnU-Net gives 0 where none has half), weights linearly, other whole
    numbers by the nearest voxel; all without antialiasing. Scores are of the case's own grid, and
    predictions come back to it, linearly.
    """

    spacing: tuple[float, ...] | None = None
    crop: bool = False
    anisotropy: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what does nothing, and spacings that are none."""
        require(
            self.spacing is not None or self.crop,
            "data.grid.spacing",
            self.spacing,
            "millimetres an axis, or data.grid.crop=True, or data.grid=None",
        )
        fine = self.spacing is None or all(0 < one < math.inf for one in self.spacing)
        require(fine, "data.grid.spacing", self.spacing, "above 0 along each axis")
        require(self.anisotropy >= 1, "data.grid.anisotropy", self.anisotropy, "at least 1")

    def place(
        self,
        image: Shaped[np.ndarray, "*shape c"],
        spacing: Sequence[float] | None,
        name: str,
    ) -> Place:
        """Where the grid of such an image lies. UserError, with ``name``, for one of no spacing."""
        shape, rank = image.shape[:-1], image.ndim - 1
        start, stop = _box(image) if self.crop else ((0,) * rank, shape)
        inside = tuple(b - a for a, b in zip(start, stop, strict=True))
        if self.spacing is None:
            return Place(shape, start, stop, inside, (0,) * rank)
        require(len(self.spacing) == rank, "data.grid.spacing", self.spacing, f"{rank} numbers")
        if spacing is None:
            raise UserError(
                f"{name}: nothing says how far its voxels lie apart, and data.grid.spacing="
                f"{self.spacing} is in mm; give a NIfTI with a spacing, or data.grid.spacing=None"
            )
        own = tuple(float(one) for one in spacing)
        size = tuple(
            max(1, round(here / there * n))
            for n, here, there in zip(inside, own, self.spacing, strict=True)
        )
        wide = self._across(own)
        wide = self._across(self.spacing) if wide is None else wide
        return Place(shape, start, stop, size, tuple(int(axis == wide) for axis in range(rank)))

    def _across(self, spacing: Sequence[float]) -> int | None:
        """The one axis of slices that lie far apart."""
        widest = max(spacing)
        if widest / min(spacing) <= self.anisotropy or spacing.count(widest) > 1:
            return None
        return spacing.index(widest)

    def image(
        self, normalised: Float[np.ndarray, "*inside c"], place: Place
    ) -> Float[np.ndarray, "*size c"]:
        """What lies in the place's box, normalised, on the network's grid."""
        channels = [resampled(x, place, "image") for x in np.moveaxis(normalised, -1, 0)]
        return np.stack(channels, -1)

    def label(self, label: Int[np.ndarray, "*inside"], place: Place) -> Int[np.ndarray, "*size"]:
        """Classes of the box on the network's grid."""
        if label.shape == place.size:
            return np.asarray(label)
        most, best = np.zeros(place.size, np.float32), np.zeros(place.size, label.dtype)
        for number in np.unique(label):
            share = resampled((label == number).astype(np.float32), place, "factor")
            here = (share >= most) & (share > 0)
            most[here], best[here] = share[here], number
        return best


def resampled(
    inside: Shaped[np.ndarray, "*inside"], place: Place, role: Role
) -> Shaped[np.ndarray, "*size"]:
    """A map of the place's box on the network's grid, by the order of its role."""
    order = ORDERS[role]
    if inside.shape == place.size:
        return np.asarray(inside)
    if not order:
        return _nearest(inside, place.size)
    inside = np.asarray(inside, np.float32)
    if not any(place.apart):
        return _spline(inside, place.size, order)
    axis = place.apart.index(1)
    plane = tuple(n for a, n in enumerate(place.size) if a != axis)
    count = place.size[axis]
    taken = _numbers(inside.shape[axis], count)
    slices = np.moveaxis(inside, axis, 0)
    made = {n: _spline(slices[n], plane, order) for n in set(taken.tolist())}
    return np.moveaxis(np.stack([made[n] for n in taken.tolist()]), 0, axis)


def _spline(x: Float[np.ndarray, "*a"], size: Spatial, order: int) -> Float[np.ndarray, "*b"]:
    if x.shape == size:
        return x
    from skimage.transform import resize

    made: Any = resize(x, size, order=order, mode="edge", anti_aliasing=False)
    return made.astype(np.float32)


def _nearest(x: Shaped[np.ndarray, "..."], size: Spatial) -> Shaped[np.ndarray, "..."]:
    for axis, count in enumerate(size):
        if x.shape[axis] != count:
            x = x.take(_numbers(x.shape[axis], count), axis)
    return x


def _numbers(n: int, count: int) -> Int[np.ndarray, " count"]:
    """The voxels of an axis of n that lie nearest to those of one of ``count``."""
    return np.minimum(((np.arange(count) + 0.5) * (n / count)).astype(int), n - 1)


def _box(image: Shaped[np.ndarray, "*shape c"]) -> tuple[Spatial, Spatial]:
    """Where what is not 0 in any channel begins and ends; all of an image of nothing else."""
    there = (image != 0).any(-1)
    start, stop = [], []
    for axis in range(there.ndim):
        along = np.flatnonzero(there.any(tuple(a for a in range(there.ndim) if a != axis)))
        start.append(int(along[0]) if along.size else 0)
        stop.append(int(along[-1]) + 1 if along.size else there.shape[axis])
    return tuple(start), tuple(stop)
