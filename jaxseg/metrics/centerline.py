"""clDice, a topology-preserving score of tubes: Shit et al. 2021, https://arxiv.org/abs/2003.07311."""

import numpy as np
from jaxtyping import Bool
from skimage.morphology import skeletonize


def centerline_dice(
    prediction: Bool[np.ndarray, "*spatial"], label: Bool[np.ndarray, "*spatial"]
) -> float:
    """Harmonic mean of how much of each mask's skeleton lies in the other mask; 2-D and 3-D.

    0 where just one mask is empty, NaN where both are. Skeletons are scikit-image's (2-D: Zhang;
    3-D: Lee), as in the paper's own code.
    """
    if not prediction.any() and not label.any():
        return float("nan")
    if not prediction.any() or not label.any():
        return 0.0
    skeletons = np.asarray(skeletonize(prediction)) > 0, np.asarray(skeletonize(label)) > 0
    precision = np.count_nonzero(skeletons[0] & label) / np.count_nonzero(skeletons[0])
    sensitivity = np.count_nonzero(skeletons[1] & prediction) / np.count_nonzero(skeletons[1])
    if precision + sensitivity == 0:
        return 0.0
    return 2 * precision * sensitivity / (precision + sensitivity)
