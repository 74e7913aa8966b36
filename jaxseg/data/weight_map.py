"""The U-Net's pixel weights (Ronneberger et al. 2015, equation 2), on the host."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from jaxseg.errors import require
from jaxseg.types import IGNORE

SMALLEST = 1e-7
"""A border term below this is taken for 0, so that objects far apart do not meet."""


@dataclass(frozen=True)
class WeightMap:
    """``w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2))``, the second term on the background alone.

    ``d1`` and ``d2`` are the distances to the nearest and the second nearest object, in pixels.
    ``w_c`` balances the classes: the smallest class of the image over the pixel's own, in (0, 1]
    (the paper does not say how); ``balance=False`` makes it 1. IGNORE weighs 0.

    It is made of whole images and kept with them, so that a patch knows objects beyond its edge;
    that reads memory-mapped volumes whole.
    """

    w0: float = 10.0
    sigma: float = 5.0
    balance: bool = True

    def __post_init__(self) -> None:
        """Refuse what has no border."""
        require(self.w0 >= 0, "data.weight_map.w0", self.w0, "at least 0")
        require(self.sigma > 0, "data.weight_map.sigma", self.sigma, "above 0")

    def __call__(
        self,
        label: Integer[np.ndarray, "*spatial"],
        instance: Integer[np.ndarray, "*spatial"] | None = None,
    ) -> Float[np.ndarray, "*spatial"]:
        """The weight of each pixel, float32.

        Without ``instance`` objects are the connected parts of what is not class 0.
        """
        from scipy import ndimage

        if instance is None:
            parts: Any = ndimage.label(label > 0)
            instance = np.asarray(parts[0])
        weight = border(instance, self.w0, self.sigma)
        if self.balance:
            weight += balanced(label)
        else:
            weight += 1.0
        return np.where(label == IGNORE, 0.0, weight).astype(np.float32)


def balanced(label: Integer[np.ndarray, "*spatial"]) -> Float[np.ndarray, "*spatial"]:
    """The pixels of the smallest class that is present over those of the pixel's own."""
    counted = np.maximum(label, 0)
    sizes = np.bincount(counted[label != IGNORE].ravel(), minlength=int(counted.max()) + 1)
    if not sizes.any():
        return np.zeros(label.shape)
    return (sizes[sizes > 0].min() / np.maximum(sizes, 1))[counted]


def border(
    instance: Integer[np.ndarray, "*spatial"], w0: float, sigma: float
) -> Float[np.ndarray, "*spatial"]:
    """``w0 exp(-(d1 + d2)^2 / (2 sigma^2))`` between objects, 0 in them and with less than two.

    Each object's distances are taken in its box and as far around it as the term is above SMALLEST.
    """
    from scipy import ndimage

    shape = instance.shape
    nearest, second = np.full(shape, np.inf), np.full(shape, np.inf)
    reach = math.ceil(sigma * math.sqrt(2 * math.log(max(w0 / SMALLEST, math.e))))
    numbers, compact = np.unique(instance, return_inverse=True)
    compact = compact.reshape(shape)  # numbers may have gaps as wide as memory
    for index, box in enumerate(ndimage.find_objects(compact + 1)):
        if numbers[index] <= 0 or box is None:
            continue
        around = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in box)
        distance = np.asarray(ndimage.distance_transform_edt(compact[around] != index))
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    term = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return np.where(nearest > 0, term, 0.0)
