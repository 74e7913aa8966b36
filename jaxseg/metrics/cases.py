"""Scores of each case and class that an experiment can name in ``evaluation.metrics``.

They are computed on the host from label maps, and averaged over cases: unlike the scores of
``Confusion``, which count all pixels of the split together.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from skimage.measure import label as components

from jaxseg.metrics.boundary import boundary_iou
from jaxseg.metrics.centerline import centerline_dice
from jaxseg.metrics.instance import Matches, aggregated_jaccard
from jaxseg.metrics.partition import foreground_information, foreground_rand
from jaxseg.metrics.surface import Mask, Spacing, average_distance, hausdorff, surface_dice
from jaxseg.types import IGNORE


class CaseScore(NamedTuple):
    """How one is computed of a class's two masks, and whether more is better."""

    of: Callable[[Mask, Mask, Spacing], float]
    higher_is_better: bool = True


def _overlap(prediction: Mask, label: Mask, *, iou: bool) -> float:
    both, either = (np.count_nonzero(x) for x in (prediction & label, prediction | label))
    if not either:
        return float("nan")
    return both / either if iou else 2 * both / (both + either)


def _objects(prediction: Mask, label: Mask) -> tuple[np.ndarray, np.ndarray]:
    # Pixels that share a face: membranes of one pixel part what they lie between.
    a, b = (np.asarray(components(mask, connectivity=1)) for mask in (prediction, label))
    return a, b


CASE_SCORES: Mapping[str, CaseScore] = MappingProxyType(
    {
        "case_dice": CaseScore(lambda p, t, _: _overlap(p, t, iou=False)),
        "case_iou": CaseScore(lambda p, t, _: _overlap(p, t, iou=True)),
        "hd": CaseScore(lambda p, t, s: hausdorff(p, t, spacing=s), False),
        "hd95": CaseScore(lambda p, t, s: hausdorff(p, t, percentile=95.0, spacing=s), False),
        "hd95_pooled": CaseScore(
            lambda p, t, s: hausdorff(p, t, percentile=95.0, pooled=True, spacing=s), False
        ),
        "assd": CaseScore(lambda p, t, s: average_distance(p, t, spacing=s), False),
        "nsd": CaseScore(lambda p, t, s: surface_dice(p, t, spacing=s)),
        "boundary_iou": CaseScore(lambda p, t, _: boundary_iou(p, t)),
        "cldice": CaseScore(lambda p, t, _: centerline_dice(p, t)),
        "ap": CaseScore(lambda p, t, _: Matches.of(*_objects(p, t)).average_precision()),
        "aji": CaseScore(lambda p, t, _: aggregated_jaccard(*_objects(p, t))),
        "v_rand": CaseScore(lambda p, t, _: foreground_rand(*_objects(p, t))),
        "v_info": CaseScore(lambda p, t, _: foreground_information(*_objects(p, t))),
    }
)
"""By name. ``nsd`` is of a tolerance of 1; ``ap``, ``aji``, ``v_rand`` and ``v_info`` are of the
connected components of the class."""


def case_scores(
    names: Sequence[str],
    prediction: Int[np.ndarray, "*spatial"],
    label: Int[np.ndarray, "*spatial"],
    num_classes: int,
    *,
    spacing: Spacing = None,
    leave_out: Sequence[int] = (),
) -> Float[np.ndarray, "n k"]:
    """The scores of one case: a row a name, a column a class.

    NaN for classes to ``leave_out`` and where a score has no value (an absent class). Pixels whose
    label is IGNORE are in no mask.
    """
    known = label != IGNORE
    scores = np.full((len(names), num_classes), np.nan)
    for number in range(num_classes):
        if number in leave_out:
            continue
        masks = (prediction == number) & known, label == number
        if not masks[0].any() and not masks[1].any():
            continue
        for row, name in enumerate(names):
            scores[row, number] = CASE_SCORES[name].of(*masks, spacing)
    return scores
