"""Objects as maps of pixels: the class of each pixel, and the number of its object."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from jaxseg.metrics.coco import Found

Map = Int[np.ndarray, "*spatial"]


@dataclass(frozen=True)
class ObjectMaps:
    """The class of each pixel, and the number of its object, from 1; 0 where there is none."""

    classes: Map
    numbers: Map

    def of(self, number: int) -> Map:
        """The objects of one class."""
        return np.where(self.classes == number, self.numbers, 0)


def painted(detections: Sequence[Found], classes: Map) -> ObjectMaps:
    """Detections that may overlap, painted by ascending score: the highest score lies on top.

    Between equal scores the first lies on top. Where there is no detection, a pixel keeps its class
    in ``classes`` and has no object; a detection that others cover whole has no pixel left.
    """
    kinds, numbers = np.array(classes, np.int32), np.zeros(classes.shape, np.int32)
    ascending = sorted(reversed(detections), key=lambda one: one.score)
    for number, one in enumerate(ascending, start=1):
        kinds[one.mask], numbers[one.mask] = one.category, number
    return ObjectMaps(kinds, numbers)
