"""Boundary IoU: Improving Object-Centric Image Segmentation Evaluation.

Cheng, Girshick, Dollar, Berg, Kirillov 2021, https://arxiv.org/abs/2103.16562
"""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage


def boundary_iou(
    prediction: Bool[np.ndarray, "*spatial"],
    label: Bool[np.ndarray, "*spatial"],
    *,
    ratio: float = 0.02,
    width: int | None = None,
) -> float:
    """IoU of the two masks' inner boundaries; NaN where both masks are empty.

    A boundary is `width` pixels wide; by default `ratio` of the image's diagonal, and at least 1.
    What lies outside the image is not in the mask.
    """
    if width is None:
        width = max(1, round(ratio * float(np.linalg.norm(label.shape))))
    a, b = _boundary(prediction, width), _boundary(label, width)
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else float("nan")


def _boundary(mask: np.ndarray, width: int) -> np.ndarray:
    # The paper erodes `width` times by a 3 x 3 square: once by one of 2 width + 1 is the same.
    size = 2 * width + 1
    inner = ndimage.minimum_filter(mask.astype(np.uint8), size=size, mode="constant")
    return mask & (inner == 0)
