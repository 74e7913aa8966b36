"""Distances between the surfaces of two masks: Hausdorff, its percentiles, average, surface Dice.

On the host, of boolean masks of any rank, with the `spacing` of pixels along each axis (1 by
default). A score of which one mask is empty is NaN (MONAI; medpy raises an error).

The surface of a mask are its pixels that erosion by the cross takes away (`connectivity=1`; 2 and
more erode by a fuller structure, as medpy's option of that name); what lies outside the image is
not in the mask, so pixels on the image's border count.

HD95 is not one metric. The default is the larger of the two directed percentiles (MONAI,
MetricsReloaded); `pooled=True` is the percentile of both directions' distances together (medpy, and
with it many papers of the years of BraTS and nnU-Net). A false blob of four pixels can make 10.4
of 3.2.
"""

import functools
import itertools

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

Mask = Bool[np.ndarray, "*spatial"]
Spacing = tuple[float, ...] | None


def surface(mask: Mask, connectivity: int = 1) -> Mask:
    """The pixels of the mask that touch what is not in it."""
    structure = ndimage.generate_binary_structure(mask.ndim, connectivity)
    return mask & np.logical_not(ndimage.binary_erosion(mask, structure))


def directed_distances(
    prediction: Mask, label: Mask, *, spacing: Spacing = None, connectivity: int = 1
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """Distance of each surface pixel of the prediction to the label's surface, and the reverse.

    Both are empty where a mask is.
    """
    if not prediction.any() or not label.any():
        return np.zeros(0), np.zeros(0)
    box = _bounding_box(prediction | label)
    edges = [surface(mask[box], connectivity) for mask in (prediction, label)]
    return _between(edges[0], edges[1], spacing)


def hausdorff(
    prediction: Mask,
    label: Mask,
    *,
    percentile: float = 100.0,
    pooled: bool = False,
    spacing: Spacing = None,
    connectivity: int = 1,
) -> float:
    """Hausdorff distance; `percentile=95` is HD95, whose convention the module's docstring names.

    Percentiles interpolate linearly between distances.
    """
    pair = directed_distances(prediction, label, spacing=spacing, connectivity=connectivity)
    if not pair[0].size:
        return float("nan")
    if pooled:
        return float(np.percentile(np.concatenate(pair), percentile))
    return float(max(np.percentile(one, percentile) for one in pair))


def average_distance(
    prediction: Mask, label: Mask, *, spacing: Spacing = None, connectivity: int = 1
) -> float:
    """ASSD: mean over the surface pixels of both masks together (medpy and MONAI, symmetric)."""
    pair = directed_distances(prediction, label, spacing=spacing, connectivity=connectivity)
    return float(np.concatenate(pair).mean()) if pair[0].size else float("nan")


def surface_dice(
    prediction: Mask,
    label: Mask,
    *,
    tolerance: float = 1.0,
    subvoxel: bool = False,
    spacing: Spacing = None,
) -> float:
    """NSD: the share of both surfaces that lies within `tolerance` of the other (in [0, 1]).

    Nikolov et al. 2021, https://doi.org/10.2196/26151. By default surface pixels are counted
    (MONAI). `subvoxel=True` sums the areas of the surfaces that pass between pixels, as DeepMind's
    `surface-distance` does (2-D and 3-D).
    """
    if not prediction.any() or not label.any():
        return float("nan")
    if not subvoxel:
        pair = directed_distances(prediction, label, spacing=spacing)
        near = sum(int((one <= tolerance).sum()) for one in pair)
        return near / sum(one.size for one in pair)
    box = _bounding_box(prediction | label)
    spacing = tuple(spacing or (1.0,) * label.ndim)
    codes = [_codes(mask[box]) for mask in (prediction, label)]
    edges = [(code > 0) & (code < 2 ** (2**label.ndim) - 1) for code in codes]
    areas = [_areas(spacing)[code[edge]] for code, edge in zip(codes, edges, strict=True)]
    pair = _between(edges[0], edges[1], spacing)
    near = sum(a[one <= tolerance].sum() for a, one in zip(areas, pair, strict=True))
    return float(near / sum(a.sum() for a in areas))


def _between(
    a: Mask, b: Mask, spacing: Spacing
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """From each pixel of `a`, in the order of the array, to the nearest of `b`, and the reverse."""
    return _to(b, a, spacing), _to(a, b, spacing)


def _to(target: Mask, source: Mask, spacing: Spacing) -> Float[np.ndarray, " n"]:
    """From each pixel of `source` to the nearest of `target`, which is not empty."""
    # Of the transform only the nearest pixels' places are taken: distances of all the box's pixels
    # cost more than the transform. A KDTree of the surface is five times faster for two spheres,
    # but takes a minute for a box inside a box: the search of a far surface visits most of it.
    nearest = ndimage.distance_transform_edt(
        ~target, sampling=spacing, return_distances=False, return_indices=True
    )
    places = np.nonzero(source)
    squares = np.zeros(len(places[0]))
    for axis, place in enumerate(places):
        step = spacing[axis] if spacing else 1.0
        squares += ((np.asarray(nearest)[axis][source] - place) * step) ** 2
    return np.sqrt(squares)


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Of what is in the mask, which must not be empty."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(i for i in range(mask.ndim) if i != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)


def _codes(mask: Mask) -> np.ndarray:
    """Which of the 2^rank pixels around each corner of the grid are in the mask, as bits."""
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
