"""The orientation tag of EXIF and TIFF: which way up the stored pixels are to be shown.

One rule for images and masks: each file's own tag is applied, so that arrays are as a viewer
shows the file.
"""

from typing import Any

import numpy as np
from jaxtyping import Shaped

TAG = 0x0112


def of_picture(image: Any) -> int:
    """The orientation, 1 to 8, by a Pillow image's EXIF; 1 where there is none that can be read."""
    try:
        value = image.getexif().get(TAG, 1)
    except Exception:  # a broken EXIF says nothing of the pixels
        return 1
    return valid(value)


def valid(value: Any) -> int:
    """The orientation, or 1 for what is none."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(array: Shaped[np.ndarray, "*lead y x c"], orientation: int) -> np.ndarray:
    """The array turned or mirrored as the tag says."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, -3, -2)
    if orientation in (3, 4, 7, 8):
        array = np.flip(array, -3)
    if orientation in (2, 3, 6, 7):
        array = np.flip(array, -2)
    return array
