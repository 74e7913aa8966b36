"""Objects made of a semantic map, on the host: components, and watersheds that part them.

Maps have any rank. Objects are numbered from 1 in int32; 0 is background. `Instances` is what an
experiment says of them.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.measure import label
from skimage.segmentation import relabel_sequential, watershed

from jaxseg.errors import UserError, require
from jaxseg.types import IGNORE

Maps = tuple[Int[np.ndarray, "*spatial"], Int[np.ndarray, "*spatial"]]
"""The class of each pixel, and the number of its object, 0 where it belongs to no object."""


BACKGROUND = (
    "background", "bg", "back", "other", "others", "none", "nothing", "void", "unlabeled",
    "unlabelled",
)  # fmt: skip
"""What data sets call class 0 where it is no object of interest; the first word, any class."""


def background_classes(num_classes: int, class_names: Sequence[str] | None) -> tuple[int, ...]:
    """The classes that are no object of interest: scores of cases and objects leave them out.

    Class 0, unless the data set says otherwise: where it names its classes, those that it calls
    "background", and class 0 by the other words of ``BACKGROUND``; none if no name
    says so. A single class is not background.
    """
    if class_names:
        plain = [name.strip(" _").lower() for name in class_names]
        first = (0,) if plain[0] in BACKGROUND else ()
        return (*first, *(k for k, name in enumerate(plain) if k and name == BACKGROUND[0]))
    return (0,) if num_classes > 1 else ()


@dataclass(frozen=True)
class Instances:
    """How objects are made of classes, for the scores that count objects.

    ``things`` are the classes that have objects; None: all but the background
    (`background_classes`) and the ``boundary``. ``part_by``: "nothing", an object is a connected
    component of its class; "distance", a watershed parts those that touch at their waists
    (`part_by_distance`); "boundary", it parts them along the probability of the class
    ``boundary``, whose pixels then go to the objects around (`part_by_boundary`; DSB2018's rim).
    ``connectivity`` 1 joins pixels that share a face; objects of fewer than ``smallest`` pixels do
    not count. The other fields are those of the two functions.
    """

    part_by: Literal["nothing", "distance", "boundary"] = "nothing"
    things: tuple[int, ...] | None = None
    boundary: int | None = None
    connectivity: int = 1
    smallest: int = 1
    apart: int = 5
    smooth: float = 1.0
    threshold: float = 0.5
    smallest_seed: int = 1

    def __post_init__(self) -> None:
        """Refuse a watershed that has nothing to flood."""
        if (self.part_by == "boundary") != (self.boundary is not None):
            raise UserError(
                f"evaluation.instances: part_by={self.part_by!r} with boundary={self.boundary}; "
                'boundary names the class that parts objects, for part_by="boundary"'
            )
        for name in ("connectivity", "smallest", "apart", "smallest_seed"):
            value = getattr(self, name)
            require(value >= 1, f"evaluation.instances.{name}", value, "at least 1")

    def classes(self, num_classes: int, class_names: Sequence[str] | None) -> tuple[int, ...]:
        """The classes that have objects."""
        named = [k for k in (*(self.things or ()), *self._rims()) if not 0 <= k < num_classes]
        if named:
            raise UserError(
                f"evaluation.instances names class {named[0]}; there are 0 to {num_classes - 1}"
            )
        if self.things is not None:
            return tuple(k for k in sorted(set(self.things)) if k != self.boundary)
        without = (*background_classes(num_classes, class_names), *self._rims())
        return tuple(k for k in range(num_classes) if k not in without)

    def found(
        self,
        label: Int[np.ndarray, "*spatial"],
        things: Sequence[int],
        boundary: Float[np.ndarray, "*spatial"] | None = None,
    ) -> Maps:
        """Objects of a label map; ``boundary``: the probability of that class (None: 0 or 1).

        Pixels that end in no object keep their class; a boundary around no object becomes IGNORE.
        """
        if self.part_by == "boundary":
            return self._parted(label, things, boundary)
        numbers = np.zeros(label.shape, np.int32)
        for k in things:
            mask = label == k
            if self.part_by == "distance":
                parts = part_by_distance(
                    mask, apart=self.apart, smooth=self.smooth, smallest=self.smallest
                )
            else:
                parts = components(mask, connectivity=self.connectivity, smallest=self.smallest)
            numbers = np.where(parts > 0, parts + numbers.max(initial=0), numbers)
        return label, numbers

    def true(
        self,
        label: Int[np.ndarray, "*spatial"],
        things: Sequence[int],
        instance: Int[np.ndarray, "*spatial"] | None = None,
    ) -> Maps:
        """Objects of the label: ``instance`` where the data set numbers them, else components.

        Each pixel of the class ``boundary`` belongs to its object. Objects are neither parted by a
        distance nor left out if they are small: what stands in the label is true.
        """
        if instance is None:
            part_by = "nothing" if self.part_by == "distance" else self.part_by
            whole = dataclasses.replace(self, part_by=part_by, smallest=1, smallest_seed=1)
            return whole.found(label, things)
        numbers = np.where(np.isin(label, [*things, *self._rims()]), instance, 0)
        classes = np.array(label)
        for rim in self._rims():
            classes = _of_their_objects(classes, numbers, rim, things)
        return classes, np.asarray(numbers, np.int32)

    def _rims(self) -> tuple[int, ...]:
        return () if self.boundary is None else (self.boundary,)

    def _parted(
        self, label: np.ndarray, things: Sequence[int], boundary: np.ndarray | None
    ) -> Maps:
        rim = label == self.boundary
        height = rim.astype(np.float32) if boundary is None else boundary
        seeds, kinds = np.zeros(label.shape, np.int32), [IGNORE]
        for k in things:
            inner = (label == k) & (height < self.threshold)
            parts = components(inner, connectivity=self.connectivity, smallest=self.smallest_seed)
            seeds = np.where(parts > 0, parts + len(kinds) - 1, seeds)
            kinds += [k] * int(parts.max(initial=0))
        numbers = np.asarray(watershed(height, seeds, mask=rim | np.isin(label, things)), np.int32)
        rest = np.where(rim, IGNORE, label)
        classes = np.where(numbers > 0, np.array(kinds)[numbers], rest)
        return np.asarray(classes, np.int32), _without_small(numbers, self.smallest)


def _of_their_objects(
    classes: np.ndarray, numbers: np.ndarray, rim: int, things: Sequence[int]
) -> np.ndarray:
    """The class map where the pixels of class ``rim`` have the class most of their object has."""
    votes = np.zeros((len(things), int(numbers.max(initial=0)) + 1), np.int64)
    for row, k in enumerate(things):
        votes[row] = np.bincount(numbers[classes == k], minlength=votes.shape[1])
    of_object = np.asarray(things)[votes.argmax(0)]
    of_rim = np.where(numbers > 0, of_object[numbers], IGNORE)
    return np.where(classes == rim, of_rim, classes)


def components(
    mask: Bool[np.ndarray, "*spatial"], *, connectivity: int = 1, smallest: int = 1
) -> Int[np.ndarray, "*spatial"]:
    """Connected parts of a mask; those of fewer than ``smallest`` pixels are background.

    ``connectivity=1`` joins pixels that share a face; the rank, those that share a corner.
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


def _without_small(objects: np.ndarray, smallest: int) -> Int[np.ndarray, "*spatial"]:
    if smallest > 1:
        sizes = np.bincount(objects.ravel())
        objects = np.where(sizes[objects] >= smallest, objects, 0)
        objects = relabel_sequential(objects)[0]
    return np.asarray(objects, np.int32)
