"""Scores of two partitions of an image into segments: Rand, information, VOI.

`foreground_rand` and `foreground_information` are V_Rand and V_Info of the ISBI 2012 challenge of
neuronal structures (Arganda-Carreras et al. 2015, https://doi.org/10.3389/fnana.2015.00142). The
challenge scores after thinning the borders of both maps to one pixel (`thinned`), and reports the
best of several thresholds of the prediction; here there is one prediction. Its program (Fiji's
Trainable Segmentation) could not be run beside: where borders are wide, its lines may lie a pixel
elsewhere.

0 in the label is its border, and is left out. Pixels of 0 in the prediction, where the label has a
segment, are by default each a segment of one pixel (as SNEMI3D and the challenge count);
`border="segment"` makes them one segment.

`skimage.metrics` has `adapted_rand_error` and `variation_of_information` too, and the tests hold
ours against them. Ours remain for what stands in `contingency.py` (IGNORE, large numbers, speed),
and because scikit-image's error is NaN where every segment is one pixel.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, Integer
from scipy import ndimage
from skimage.segmentation import watershed

from jaxseg.metrics.contingency import Contingency

Segments = Integer[np.ndarray, "*spatial"]
Border = Literal["singletons", "segment"]


def foreground_rand(
    prediction: Segments, label: Segments, *, alpha: float = 0.5, border: Border = "singletons"
) -> float:
    """V_Rand in [0, 1]: `sum p_ij^2 / (alpha sum s_i^2 + (1 - alpha) sum t_j^2)`, t the label's.

    `alpha=1` is the merge score (precision), `alpha=0` the split score (recall). NaN where the
    label has no segment.
    """
    joint, of_prediction, of_label = _shares(prediction, label, border)
    if not joint.size:
        return float("nan")
    bottom = alpha * (of_prediction**2).sum() + (1 - alpha) * (of_label**2).sum()
    return float((joint**2).sum() / bottom)


def foreground_information(
    prediction: Segments, label: Segments, *, alpha: float = 0.5, border: Border = "singletons"
) -> float:
    """V_Info in [0, 1]: `I(S; T) / (alpha H(S) + (1 - alpha) H(T))`, T the label's.

    1 where both are one segment. `alpha=1` is the merge and `alpha=0` the split score.
    """
    joint, of_prediction, of_label = _shares(prediction, label, border)
    if not joint.size:
        return float("nan")
    entropies = _entropy(of_prediction), _entropy(of_label)
    bottom = alpha * entropies[0] + (1 - alpha) * entropies[1]
    information = entropies[0] + entropies[1] - _entropy(joint)
    return float(information / bottom) if bottom > 0 else 1.0


def thinned(segments: Segments) -> Int[np.ndarray, "*spatial"]:
    """Segments grown over the border (0) between them until a line of one pixel is left.

    After that the width of a membrane does not count.
    """
    distance = np.asarray(ndimage.distance_transform_edt(segments == 0))
    return np.asarray(watershed(distance, segments, watershed_line=True), np.int32)


def adapted_rand_error(
    prediction: Segments, label: Segments, *, ignore: tuple[int, ...] = (0,)
) -> tuple[float, float, float]:
    """`1 - F` over pairs of pixels of one segment, and its parts, by scikit-image's convention.

    The second number is the share of the label's pairs that the prediction has too, the third the
    share of the prediction's pairs that the label has: scikit-image calls them precision and
    recall, in this order. Pixels whose label is in `ignore` are left out; 0 in the prediction is
    one segment.
    """
    pairs = Contingency.of(prediction, label)
    pairs = pairs.where(~np.isin(pairs.labels, ignore))
    n = pairs.counts.sum()
    if not n:
        return float("nan"), float("nan"), float("nan")
    of_label, of_prediction = (_each(x, pairs.counts) for x in (pairs.labels, pairs.predictions))
    together = float((pairs.counts.astype(float) ** 2).sum() - n)
    pairs_each = [float((x**2).sum() - n) for x in (of_label, of_prediction)]
    shares = [together / x if x else 1.0 for x in pairs_each]
    f = 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0
    return 1 - f, shares[0], shares[1]


def variation_of_information(
    prediction: Segments, label: Segments, *, ignore: tuple[int, ...] = ()
) -> tuple[float, float]:
    """Entropies in bits: of the prediction given the label (splits), and the reverse (merges).

    scikit-image's order and convention, with the label as its first image: pixels whose label is
    in `ignore` are left out.
    """
    pairs = Contingency.of(prediction, label)
    pairs = pairs.where(~np.isin(pairs.labels, ignore))
    if not pairs.counts.size:
        return float("nan"), float("nan")
    joint = _entropy(pairs.counts / pairs.counts.sum())
    given = [
        _entropy(_each(x, pairs.counts) / pairs.counts.sum())
        for x in (pairs.labels, pairs.predictions)
    ]
    return joint - given[0], joint - given[1]


def pixel_error(
    prediction: Bool[np.ndarray, "*spatial"], label: Bool[np.ndarray, "*spatial"]
) -> float:
    """Share of the pixels in which two binary maps differ: the challenge's, without warping."""
    return float(np.mean(prediction != label))


def _shares(
    prediction: Segments, label: Segments, border: Border
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of the label's foreground, by pair and by segment of prediction and of label."""
    pairs = Contingency.of(prediction, label)
    pairs = pairs.where(pairs.labels != 0)
    n = pairs.counts.sum()
    of_label = _each(pairs.labels, pairs.counts) / max(n, 1)
    if border == "segment":
        return (
            pairs.counts / max(n, 1),
            _each(pairs.predictions, pairs.counts) / max(n, 1),
            of_label,
        )
    inside = pairs.where(pairs.predictions != 0)
    alone = np.ones(n - inside.counts.sum())
    joint = np.concatenate([inside.counts, alone])
    of_prediction = np.concatenate([_each(inside.predictions, inside.counts), alone])
    return joint / max(n, 1), of_prediction / max(n, 1), of_label


def _each(names: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The number of pixels of each segment, as floats: squares may pass what int64 holds."""
    _, index = np.unique(names, return_inverse=True)
    return np.bincount(index, counts) if counts.size else np.zeros(0)


def _entropy(shares: np.ndarray) -> float:
    return float(-(shares * np.log2(shares)).sum())
