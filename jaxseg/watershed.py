"""From a semantic map to objects, on the host: connected components, and watersheds that part them.

Of any rank. Objects are numbered from 1 in int32; 0 is background.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.measure import label
from skimage.segmentation import relabel_sequential, watershed


def components(
    mask: Bool[np.ndarray, "*spatial"], *, connectivity: int = 1, smallest: int = 1
) -> Int[np.ndarray, "*spatial"]:
    """Connected parts of a mask; those of fewer than ``smallest`` pixels are background.

    ``connectivity=1`` joins pixels that share a face, up to the rank: that share a corner.
    """
    return _without_small(np.asarray(label(mask, connectivity=connectivity)), smallest)


def part_by_distance(
    mask: Bool[np.ndarray, "*spatial"],
    *,
    spacing: tuple[float, ...] | None = None,
    apart: int = 5,
    smooth: float = 1.0,
    smallest: int = 1,
) -> Int[np.ndarray, "*spatial"]:
    """Parts touching round objects at their waists: watershed on the distance to the background.

    A seed is a peak of the distance, blurred by a Gaussian of ``smooth`` pixels, with no higher one
    within ``apart`` pixels. Every component of the mask holds at least one object.
    """
    padded = np.pad(mask, 1)  # what lies outside the image is background
    distance = np.asarray(ndimage.distance_transform_edt(padded, sampling=spacing))
    distance = distance[(slice(1, -1),) * mask.ndim]
    blurred = ndimage.gaussian_filter(distance, smooth) if smooth else distance
    parts = np.asarray(label(mask, connectivity=1))
    peaks = peak_local_max(blurred, min_distance=apart, labels=parts, exclude_border=False)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    # A part that is flat has no peak: all of it is the seed.
    flat = np.setdiff1d(np.arange(1, parts.max() + 1), parts[tuple(peaks.T)])
    seeds = np.where(np.isin(parts, flat), len(peaks) + parts, seeds)
    objects = watershed(-blurred, relabel_sequential(seeds)[0], mask=mask)
    return _without_small(objects, smallest)


def part_by_boundary(
    boundary: Float[np.ndarray, "*spatial"],
    mask: Bool[np.ndarray, "*spatial"],
    *,
    threshold: float = 0.5,
    smallest_seed: int = 1,
    smallest: int = 1,
) -> Int[np.ndarray, "*spatial"]:
    """Parts a mask along a map of boundaries (probabilities in [0, 1], say of membranes).

    The seeds are the components of the mask where the boundary is below ``threshold``, of at least
    ``smallest_seed`` pixels; they grow over the mask, the highest boundaries last. A
    part of the mask that no seed reaches is background.
    """
    seeds = components(mask & (boundary < threshold), smallest=smallest_seed)
    return _without_small(watershed(boundary, seeds, mask=mask), smallest)


def thinned(segments: Integer[np.ndarray, "*spatial"]) -> Int[np.ndarray, "*spatial"]:
    """Segments grown over the border (0) between them until a line of one pixel is left.

    As the scores of ISBI 2012 want them: the width of a membrane does not count.
    """
    distance = np.asarray(ndimage.distance_transform_edt(segments == 0))
    return np.asarray(watershed(distance, segments, watershed_line=True), np.int32)


def _without_small(objects: np.ndarray, smallest: int) -> Int[np.ndarray, "*spatial"]:
    if smallest > 1:
        sizes = np.bincount(objects.ravel())
        objects = np.where(sizes[objects] >= smallest, objects, 0)
        objects = relabel_sequential(objects)[0]
    return np.asarray(objects, np.int32)
