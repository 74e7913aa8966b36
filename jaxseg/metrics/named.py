"""The scores that an experiment can name in ``evaluation.metrics``, beside those of ``Confusion``.

They are computed on the host, case by case, and only where they are named.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from jaxseg.errors import UserError, unknown
from jaxseg.metrics.boundary import boundary_iou
from jaxseg.metrics.calibration import Calibration
from jaxseg.metrics.cases import Case, Coco, NamedScore, Need, PerCase, Pooled
from jaxseg.metrics.centerline import centerline_dice
from jaxseg.metrics.confusion import MORE, SCORES
from jaxseg.metrics.instance import Matches, Panoptic, aggregated_jaccard
from jaxseg.metrics.object_maps import Map
from jaxseg.metrics.partition import (
    adapted_rand_error,
    foreground_information,
    foreground_rand,
    pixel_error,
    thinned,
    variation_of_information,
)
from jaxseg.metrics.surface import Surfaces
from jaxseg.types import IGNORE


def _overlap(case: Case, number: int, *, iou: bool = False) -> float:
    prediction, label = case.masks(number)
    both, either = (np.count_nonzero(x) for x in (prediction & label, prediction | label))
    return both / either if iou else 2 * both / (both + either)


def _rate(case: Case, number: int, *, of: Literal["prediction", "label"]) -> float:
    """Precision or recall; 0 where just one of the two has the class, as in ``Confusion``."""
    prediction, label = case.masks(number)
    whole = np.count_nonzero(prediction if of == "prediction" else label)
    return np.count_nonzero(prediction & label) / whole if whole else 0.0


def _pixel_error(case: Case, number: int) -> float:
    known = case.label != IGNORE
    prediction, label = case.masks(number)
    return pixel_error(prediction[known], label[known])


def _panoptic(case: Case) -> Float[np.ndarray, "4 k"]:
    assert case.true is not None
    found, true = case.predicted, case.true
    # A predicted pixel of a class of things that has no object is in no segment. Not so in the
    # label, where IGNORE would make it void.
    none = np.isin(found.classes, case.things) & (found.numbers == 0)
    pq = Panoptic.of(
        np.where(none, IGNORE, found.classes),
        true.classes,
        found.numbers,
        true.numbers,
        case.num_classes,
        things=case.things,
    )
    table = np.stack([pq.iou, pq.tp, pq.fp, pq.fn])
    table[:, list(case.leave_out)] = 0
    return table


def _quality(part: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda table: getattr(Panoptic(table[0], *table[1:].astype(np.int64)), part)()


def _calibrated(part: str) -> Callable[[np.ndarray], np.ndarray]:
    def score(table: np.ndarray) -> np.ndarray:
        counts = table[:2].astype(np.int64)
        merged = Calibration(pixels=counts[0], right=counts[1], confidence=table[2])  # pyright: ignore
        return np.asarray(getattr(merged, part)())

    return score


def _calibration(case: Case) -> np.ndarray:
    assert case.calibration is not None
    return case.calibration


def _of_objects(
    score: Callable[[Map, Map], float], *, higher: bool = True, leaves_out: bool = False
) -> PerCase:
    of = lambda case, number: score(*case.objects(number))  # noqa: E731
    return PerCase(of, higher, needs=("objects",), leaves_out=leaves_out)


def _thinned(score: Callable[[Map, Map], float]) -> PerCase:
    both = lambda prediction, label: score(thinned(prediction), thinned(label))  # noqa: E731
    return _of_objects(both, leaves_out=True)


def _distance(
    score: Callable[[Surfaces], float], *, subvoxel: bool = False, penalized: bool = False
) -> PerCase:
    of = lambda case, number: score(case.surfaces(number, subvoxel=subvoxel))  # noqa: E731
    missed = (lambda case: case.diagonal) if penalized else None
    return PerCase(of, False, in_mm=True, missed=missed, leaves_out=not penalized)


def _near(tolerance: float = 1.0, *, subvoxel: bool = False) -> PerCase:
    of = lambda case, number: case.surfaces(number, subvoxel=subvoxel).dice(tolerance)  # noqa: E731
    return PerCase(of, missed=lambda case: 0.0)


def _ap(*thresholds: float) -> PerCase:
    given = (thresholds,) if thresholds else ()
    return _of_objects(lambda p, t: Matches.of(p, t, *given).average_precision())


CASE_SCORES: Mapping[str, NamedScore] = MappingProxyType(
    {
        "case_dice": PerCase(_overlap),
        "case_iou": PerCase(functools.partial(_overlap, iou=True)),
        "case_precision": PerCase(functools.partial(_rate, of="prediction")),
        "case_recall": PerCase(functools.partial(_rate, of="label")),
        "pixel_error": PerCase(_pixel_error, False),
        "hd": _distance(lambda s: s.hausdorff()),
        "hd95": _distance(lambda s: s.hausdorff(95.0)),
        "hd95_pooled": _distance(lambda s: s.hausdorff(95.0, pooled=True)),
        "assd": _distance(lambda s: s.average()),
        "asd": _distance(lambda s: s.average("prediction")),
        "hd_penalized": _distance(lambda s: s.hausdorff(), penalized=True),
        "hd95_penalized": _distance(lambda s: s.hausdorff(95.0), penalized=True),
        "assd_penalized": _distance(lambda s: s.average(), penalized=True),
        "hd95_subvoxel": _distance(lambda s: s.hausdorff(95.0), subvoxel=True),
        "nsd": _near(),
        "nsd2": _near(2.0),
        "nsd_subvoxel": _near(subvoxel=True),
        "boundary_iou": PerCase(lambda case, number: boundary_iou(*case.masks(number))),
        "cldice": PerCase(lambda case, number: centerline_dice(*case.masks(number))),
        "ap": _ap(),
        "ap50": _ap(0.5),
        "ap75": _ap(0.75),
        "aji": _of_objects(aggregated_jaccard),
        "v_rand": _of_objects(foreground_rand, leaves_out=True),
        "v_info": _of_objects(foreground_information, leaves_out=True),
        "v_rand_thinned": _thinned(foreground_rand),
        "v_info_thinned": _thinned(foreground_information),
        "adapted_rand_error": _of_objects(
            lambda p, t: adapted_rand_error(p, t)[0], higher=False, leaves_out=True
        ),
        "voi": _of_objects(lambda p, t: sum(variation_of_information(p, t)), higher=False),
        "pq": Pooled(_panoptic, _quality("quality"), ("objects",)),
        "sq": Pooled(_panoptic, _quality("segmentation_quality"), ("objects",)),
        "rq": Pooled(_panoptic, _quality("recognition_quality"), ("objects",)),
        "coco_ap": Coco("AP"),
        "coco_ap50": Coco("AP50"),
        "coco_ap75": Coco("AP75"),
        "coco_ar": Coco("AR100"),
        "ece": Pooled(_calibration, _calibrated("expected_error"), ("calibration",), False),
        "mce": Pooled(_calibration, _calibrated("largest_error"), ("calibration",), False),
    }
)
"""The scores of cases by name.

Distances, and the tolerances of ``nsd`` (1) and ``nsd2`` (2), are in mm where the data set gives a
spacing, else in pixels; those of ``subvoxel`` are DeepMind's, in 2-D and 3-D.

**Missed objects.** Where just one of prediction and label has a class, its Dice, IoU, ``nsd``,
``boundary_iou``, ``cldice``, ``ap`` and ``aji`` are 0. A distance to nothing does not exist: there
``hd``, ``hd95``, ``assd`` and ``asd`` leave the case's class out, so that they may fall as more
objects are missed, and ``<score>_cases_left_out`` beside them is the number of such cases (so too
of the Rand and information scores, which need a segment in the label). ``hd_penalized``,
``hd95_penalized`` and ``assd_penalized`` count the image's diagonal there instead. A class that is
in neither has no score.

``ap`` is DSB2018's: TP / (TP + FP + FN), its mean over IoU 0.5 to 0.95, then over images. COCO's
``coco_ap`` is of the objects of all images, ranked by their probability; ``pq`` counts over the
split. Objects are those of ``evaluation.instances``. ``v_rand_thinned`` and ``v_info_thinned`` are
ISBI 2012's, after thinning the borders of both maps."""


def name_of(score: Any) -> str:
    """The name of a score, or the name itself.

    A score of one's own is called by its ``name``, or else by its class: ``RimError`` is
    ``rim_error``.
    """
    if isinstance(score, str):
        return score
    own = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(score).__name__).lower()
    return str(getattr(score, "name", None) or own)


def scores_of(named: Iterable[Any]) -> dict[str, NamedScore]:
    """The scores of cases by name: those of ``CASE_SCORES`` that are named, and one's own.

    The names of ``Confusion``'s scores are passed over. Raises UserError for an unknown name, an
    object that is no score, and a score of one's own that has another's name.
    """
    scores: dict[str, NamedScore] = {}
    for score in named:
        name = name_of(score)
        if not isinstance(score, str):
            taken = name in (*SCORES, *MORE, *CASE_SCORES, *scores)
            scores[name] = _checked(score, name, taken)
        elif name in CASE_SCORES:
            scores[name] = CASE_SCORES[name]
        elif name not in (*SCORES, *MORE):
            known = (*SCORES, *MORE, *CASE_SCORES)
            raise unknown("evaluation.metrics: no metric", name, known)
    return scores


def _checked(score: Any, name: str, taken: bool) -> NamedScore:
    wanted = ("higher_is_better", "needs", "in_mm", "of", "total", "interval")
    absent = [part for part in wanted if not hasattr(score, part)]
    what = f"evaluation.metrics: {type(score).__name__}"
    if isinstance(score, type):
        raise UserError(f"{what}: expected an object, {score.__name__}(...)")
    if absent:
        raise UserError(f"{what} is no score: it has no `{absent[0]}`")
    for need in score.needs:
        if need not in get_args(Need):
            raise unknown(f"{what}.needs: cases hold nothing called", str(need), get_args(Need))
    if taken:
        raise UserError(f"{what} is called {name!r} as another score is; give it another `name`")
    return score


def needs_of(
    names: Iterable[str], scores: Mapping[str, NamedScore] = CASE_SCORES
) -> frozenset[Need]:
    """The fields that cases must hold for the scores of these names."""
    return frozenset(need for name in names for need in scores[name].needs)
