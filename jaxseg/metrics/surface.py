"""Distances between the surfaces of two masks: Hausdorff, its percentiles, average, surface Dice.

All run on the host, for boolean masks of any rank. Distances have the unit of `spacing`, the size
of a pixel along each axis (mm where the data set gives it), or are in pixels without one. Where a
mask is empty the score is NaN (MONAI; medpy raises an error); `named.py` has what a missed object
costs.

The surface of a mask is made of the pixels that erosion by the cross takes away (`connectivity=1`;
2 and more erode by a fuller structure, as medpy's option of that name). What lies outside the image
is not in the mask, so pixels on the image's border count. Each counts once (MONAI, medpy);
`subvoxel=True` weighs by the length or area of the surface that passes between pixels instead,
measured at the corners of the grid (DeepMind's `surface-distance`; 2-D and 3-D).
`skimage.metrics.hausdorff_distance` measures between all pixels of two masks, not their surfaces,
and without a spacing: a hole in a mask has another distance there.

HD95 is not one metric. The default is the larger of the two directed percentiles (MONAI,
MetricsReloaded, and with areas DeepMind); `pooled=True` is the percentile of both directions'
distances together (medpy, and with it many papers of the years of BraTS and nnU-Net). A false blob
of four pixels can make 10.4 of 3.2. Averages are taken over both surfaces' pixels together (medpy
and MONAI symmetric); `of="prediction"` is from its surface to the label's alone, `of="label"` the
reverse (MONAI's and medpy's ASD; DeepMind returns these two).
"""

import functools
import itertools
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

Mask = Bool[np.ndarray, "*spatial"]
Spacing = tuple[float, ...] | None
Of = Literal["both", "prediction", "label"]

REACH = 2
"""Pixels along each axis in which a nearest pixel is looked for before a distance transform."""


class Surface(NamedTuple):
    """The pixels of one mask's surface."""

    distances: Float[np.ndarray, " n"]
    """Distance of each to the other mask's surface."""
    areas: Float[np.ndarray, " n"]


class Surfaces(NamedTuple):
    """The surfaces of two masks, computed once for all scores; both empty where a mask is."""

    prediction: Surface
    label: Surface
    subvoxel: bool = False

    def hausdorff(self, percentile: float = 100.0, *, pooled: bool = False) -> float:
        """Hausdorff distance, see `hausdorff`."""
        if not self.label.areas.size:
            return float("nan")
        of = _share if self.subvoxel else _percentile
        sides = [self._side("both")] if pooled else [self.prediction, self.label]
        return max(of(side, percentile) for side in sides)

    def average(self, of: Of = "both") -> float:
        """Average distance, see `average_distance`."""
        distances, areas = self._side(of)
        return float((distances * areas).sum() / areas.sum()) if areas.size else float("nan")

    def dice(self, tolerance: float = 1.0, of: Of = "both") -> float:
        """Surface Dice, see `surface_dice`."""
        distances, areas = self._side(of)
        near = areas[distances <= tolerance].sum()
        return float(near / areas.sum()) if areas.size else float("nan")

    def _side(self, of: Of) -> Surface:
        if of != "both":
            return self.prediction if of == "prediction" else self.label
        pair = zip(self.prediction, self.label, strict=True)
        return Surface(*(np.concatenate(arrays) for arrays in pair))


def surface(mask: Mask, connectivity: int = 1) -> Mask:
    """The pixels of the mask that touch what is not in it."""
    if connectivity > 1:
        structure = ndimage.generate_binary_structure(mask.ndim, connectivity)
        return mask & np.logical_not(ndimage.binary_erosion(mask, structure))
    inner, padded = mask.copy(), np.pad(mask, 1)  # ten times faster than scipy's erosion
    for axis in range(mask.ndim):
        for start in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(start, start + mask.shape[axis])
            inner &= padded[tuple(window)]
    return mask & ~inner


def surfaces(
    prediction: Mask,
    label: Mask,
    *,
    subvoxel: bool = False,
    spacing: Spacing = None,
    connectivity: int = 1,
) -> Surfaces:
    """The surfaces from which every score of this file follows.

    `connectivity` belongs to surfaces of pixels, not to those of areas.
    """
    if not prediction.any() or not label.any():
        nothing = Surface(np.zeros(0), np.zeros(0))
        return Surfaces(nothing, nothing, subvoxel)
    box = _bounding_box(prediction | label)
    masks = prediction[box], label[box]
    if subvoxel:
        codes = [_codes(mask) for mask in masks]
        edges = [(code > 0) & (code < 2 ** (2**label.ndim) - 1) for code in codes]
        table = _areas(tuple(spacing or (1.0,) * label.ndim))
        areas = [table[code[edge]] for code, edge in zip(codes, edges, strict=True)]
    else:
        edges = [surface(mask, connectivity) for mask in masks]
        areas = [np.ones(np.count_nonzero(edge)) for edge in edges]
    there, back = _to(edges[1], edges[0], spacing), _to(edges[0], edges[1], spacing)
    return Surfaces(Surface(there, areas[0]), Surface(back, areas[1]), subvoxel)


def directed_distances(
    prediction: Mask, label: Mask, *, spacing: Spacing = None, connectivity: int = 1
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """Distance of each surface pixel of the prediction to the label's surface, and the reverse.

    Both are empty where a mask is.
    """
    pair = surfaces(prediction, label, spacing=spacing, connectivity=connectivity)
    return pair.prediction.distances, pair.label.distances


def hausdorff(
    prediction: Mask,
    label: Mask,
    *,
    percentile: float = 100.0,
    pooled: bool = False,
    subvoxel: bool = False,
    spacing: Spacing = None,
    connectivity: int = 1,
) -> float:
    """Hausdorff distance; `percentile=95` is HD95, whose convention the module's docstring names.

    Percentiles of pixels interpolate linearly between distances; those of areas do not.
    """
    fields = {"subvoxel": subvoxel, "spacing": spacing, "connectivity": connectivity}
    return surfaces(prediction, label, **fields).hausdorff(percentile, pooled=pooled)


def average_distance(
    prediction: Mask,
    label: Mask,
    *,
    of: Of = "both",
    subvoxel: bool = False,
    spacing: Spacing = None,
    connectivity: int = 1,
) -> float:
    """ASSD: mean over the surfaces of both masks together, or ASD, from one of them."""
    fields = {"subvoxel": subvoxel, "spacing": spacing, "connectivity": connectivity}
    return surfaces(prediction, label, **fields).average(of)


def surface_dice(
    prediction: Mask,
    label: Mask,
    *,
    tolerance: float = 1.0,
    of: Of = "both",
    subvoxel: bool = False,
    spacing: Spacing = None,
) -> float:
    """NSD: the share of both surfaces that lies within `tolerance` of the other (in [0, 1]).

    Nikolov et al. 2021, https://doi.org/10.2196/26151. By default surface pixels are counted
    (MONAI); `subvoxel=True` is DeepMind's, whose overlaps of one surface are `of` that.
    """
    return surfaces(prediction, label, subvoxel=subvoxel, spacing=spacing).dice(tolerance, of)


def _percentile(side: Surface, percentile: float) -> float:
    return float(np.percentile(side.distances, percentile))


def _share(side: Surface, percentile: float) -> float:
    """The least distance within which this share of the area lies."""
    order = np.argsort(side.distances)
    shares = np.cumsum(side.areas[order]) / side.areas.sum()
    at = np.searchsorted(shares, percentile / 100)
    return float(side.distances[order][min(int(at), order.size - 1)])


def _to(target: Mask, source: Mask, spacing: Spacing) -> Float[np.ndarray, " n"]:
    """Distance from each pixel of `source`, in the array's order, to the nearest of `target`.

    `target` must not be empty.
    """
    around, goal = (np.pad(x, REACH) for x in (source, target))
    at, goal = np.flatnonzero(around), goal.ravel()
    found = np.zeros(at.size)
    left = np.arange(at.size)
    # The neighbourhood first, which is all that noise needs; in memory, a step is a fixed number.
    strides = np.array(around.strides) // around.itemsize
    for step, distance in _steps(spacing or (1.0,) * target.ndim):
        hit = goal[at + int(strides @ step)]
        found[left[hit]] = distance
        left, at = left[~hit], at[~hit]
        if not left.size:
            return found
    found[left] = _far(target, np.unravel_index(at, around.shape), spacing)
    return found


@functools.lru_cache(maxsize=8)
def _steps(spacing: tuple[float, ...]) -> list[tuple[np.ndarray, float]]:
    """Steps to the nearest neighbours and their lengths, shortest first; none is left out."""
    every = itertools.product(range(-REACH, REACH + 1), repeat=len(spacing))
    lengths = [(step, float(np.linalg.norm(np.multiply(step, spacing)))) for step in every]
    complete = (REACH + 1) * min(spacing)
    near = [(np.array(step), length) for step, length in lengths if length < complete]
    return sorted(near, key=lambda pair: pair[1])


def _far(target: Mask, places: tuple[np.ndarray, ...], spacing: Spacing) -> np.ndarray:
    """Distance from each of `places` (of the padded array), by a transform of the whole box."""
    # Only the nearest pixels' places are taken: distances of all the box's pixels cost more than
    # the transform. A KDTree of the surface is five times faster for two spheres,
    # but takes a minute for a box inside a box: the search of a far surface visits most of it.
    nearest = ndimage.distance_transform_edt(
        ~target, sampling=spacing, return_distances=False, return_indices=True
    )
    here = tuple(place - REACH for place in places)
    squares = np.zeros(len(here[0]))
    for axis, place in enumerate(here):
        step = spacing[axis] if spacing else 1.0
        squares += ((np.asarray(nearest)[axis][here] - place) * step) ** 2
    return np.sqrt(squares)


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box that holds the mask, which must not be empty."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(i for i in range(mask.ndim) if i != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)


def _codes(mask: Mask) -> np.ndarray:
    """The code of each grid corner: as bits, which of the 2^rank pixels around are in the mask."""
    padded = np.pad(mask, 1).astype(np.uint8)
    code = np.zeros([n - 1 for n in padded.shape], np.uint8)
    for bit, offset in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        window = tuple(slice(o, o + n) for o, n in zip(offset, code.shape, strict=True))
        code |= padded[window] << bit
    return code


@functools.lru_cache(maxsize=8)
def _areas(spacing: tuple[float, ...]) -> Float[np.ndarray, " codes"]:
    """Length or area of the surface around a corner, by its code.

    Classic marching cubes at half height; a code of more than half the pixels is as its complement,
    which makes the mask and its inverse have one surface (and the ambiguous cases DeepMind's).
    """
    rank = len(spacing)
    if rank not in (2, 3):
        raise ValueError(f"subvoxel=True: masks have {rank} axes; it is written for 2 and 3")
    full = 2 ** (2**rank) - 1
    areas = np.zeros(full + 1)
    for code in range(1, full):
        few = code if code.bit_count() <= 2 ** (rank - 1) else full ^ code
        cell = np.array([few >> bit & 1 for bit in range(2**rank)], float).reshape((2,) * rank)
        areas[code] = _length(cell, spacing) if rank == 2 else _area(cell, spacing)
    return areas


def _area(cell: np.ndarray, spacing: tuple[float, ...]) -> float:
    vertices, faces, _, _ = marching_cubes(cell, 0.5, method="lorensen", spacing=spacing)
    return float(mesh_surface_area(vertices, faces))


def _length(cell: np.ndarray, spacing: tuple[float, ...]) -> float:
    if cell.sum() == 2 and (cell[0] == cell[1]).all():
        return spacing[0]
    if cell.sum() == 2 and (cell[:, 0] == cell[:, 1]).all():
        return spacing[1]
    corners = 2 if cell.sum() == 2 else 1  # two corners across: each is cut off alone
    return corners * 0.5 * float(np.hypot(spacing[0], spacing[1]))
