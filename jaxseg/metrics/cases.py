"""A case as scores see it, and the kinds of scores that are computed case by case on the host.

A score makes a record of every case. Its number for a split, and the interval by bootstrap over
cases, come from the records:

- most score each class of a case and then average over cases (`PerCase`), unlike the scores of
  ``Confusion``, which count all pixels of the split together;
- `Pooled` scores add counts over the cases (panoptic quality, calibration); `Coco` ranks the
  objects of all cases.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from jaxseg.metrics.bootstrap import bootstrap, bootstrap_interval
from jaxseg.metrics.coco import Found, Truth, coco_of_records, coco_record, coco_resampled
from jaxseg.metrics.confusion import mean
from jaxseg.metrics.object_maps import Map, ObjectMaps, painted
from jaxseg.metrics.surface import Mask, Spacing, Surfaces, surfaces
from jaxseg.types import IGNORE

Need = Literal["objects", "probabilities", "calibration"]


@dataclass(frozen=True)
class Case:
    """One case as scores see it; a field that no named score needs is None.

    ``leave_out`` are the classes without a score (the background), ``things`` those with objects.
    ``found`` and ``true`` are the objects of prediction and label. ``detections`` are the objects
    of a network that gives them itself, with scores; they may overlap. Without ``found``, scores of
    object maps see the detections painted (`painted`).
    """

    prediction: Map
    label: Map
    num_classes: int
    spacing: Spacing = None
    leave_out: Sequence[int] = ()
    things: Sequence[int] = ()
    found: ObjectMaps | None = None
    true: ObjectMaps | None = None
    detections: tuple[Found, ...] | None = None
    probabilities: Float[np.ndarray, "*spatial k"] | None = None
    calibration: Float[np.ndarray, "3 bins"] | None = None
    _surfaces: dict[tuple[int, bool], Surfaces] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def masks(self, number: int) -> tuple[Mask, Mask]:
        """Prediction and label of one class; pixels whose label is IGNORE are in neither."""
        return (self.prediction == number) & (self.label != IGNORE), self.label == number

    def surfaces(self, number: int, *, subvoxel: bool = False) -> Surfaces:
        """The surfaces of one class in prediction and label, computed once for all scores."""
        key = number, subvoxel
        if key not in self._surfaces:
            masks = self.masks(number)
            self._surfaces[key] = surfaces(*masks, subvoxel=subvoxel, spacing=self.spacing)
        return self._surfaces[key]

    @functools.cached_property
    def predicted(self) -> ObjectMaps:
        """The objects of the prediction as maps: ``found``, or else the painted detections."""
        if self.found is not None:
            return self.found
        assert self.detections is not None
        of_things = [one for one in self.detections if one.category in self.things]
        return painted(of_things, self.prediction)

    @property
    def diagonal(self) -> float:
        """The length of the image's diagonal: no two of its pixels are farther apart."""
        return float(np.linalg.norm(np.multiply(self.label.shape, self.spacing or 1.0)))

    def objects(self, number: int) -> tuple[Map, Map]:
        """Objects of one class in prediction and label; none where the label is IGNORE."""
        assert self.true is not None
        return np.where(self.label == IGNORE, 0, self.predicted.of(number)), self.true.of(number)


@runtime_checkable
class NamedScore(Protocol):
    """A score that is computed case by case: one of ``CASE_SCORES``, or one's own."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score is better, as `checkpoint.best` asks for."""
        ...

    @property
    def needs(self) -> tuple[Need, ...]:
        """The fields that a `Case` must hold beside its label maps."""
        ...

    @property
    def in_mm(self) -> bool:
        """Whether the score is a distance, in the unit of the case's spacing."""
        ...

    def of(self, case: Case) -> Any:
        """The record of one case: arrays, numbers and strings."""
        ...

    def total(self, records: Sequence[Any]) -> tuple[float, Float[np.ndarray, " k"] | None]:
        """The score of all cases: one number, and one for each class where it has classes."""
        ...

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """The 95 % interval of the number, by bootstrap over cases."""
        ...


@runtime_checkable
class LeavesOut(Protocol):
    """A score that has no value for some cases, and says for how many."""

    def left_out(self, records: Sequence[Any]) -> int | None:
        """The number of cases left out of the score; None for a score that leaves none out."""
        ...


@dataclass(frozen=True)
class PerCase:
    """The score of each class of a case; of several cases, the mean of means over classes.

    A class that is in neither prediction nor label has no score, nor has one that is left out.
    Where just one of the two has the class (an object missed, or one that is not there), the score
    is ``missed`` of the case, or without it what ``score`` gives. If that may be NaN, the score
    ``leaves_out`` such cases: their number is reported beside it.
    """

    score: Callable[[Case, int], float]
    higher_is_better: bool = True
    needs: tuple[Need, ...] = ()
    in_mm: bool = False
    missed: Callable[[Case], float] | None = None
    leaves_out: bool = False

    def of(self, case: Case) -> Float[np.ndarray, "2 k"]:
        """The score of each class, NaN for none; and 1 for a class that occurs but has none."""
        scores, without = np.full(case.num_classes, np.nan), np.zeros(case.num_classes)
        for number in range(case.num_classes):
            if self.needs:
                maps = case.objects(number) if number in case.things else ()
            else:
                maps = () if number in case.leave_out else case.masks(number)
            has = [bool(x.any()) for x in maps]
            if any(has):
                if self.missed is not None and not all(has):
                    scores[number] = self.missed(case)
                else:
                    scores[number] = self.score(case, number)
                without[number] = np.isnan(scores[number])
        return np.stack([scores, without])

    def total(self, records: Sequence[Any]) -> tuple[float, Float[np.ndarray, " k"]]:
        """The means over the cases that have a value."""
        table = np.stack([scores for scores, _ in records])
        classes = np.array([float(mean(column)) for column in table.T])
        return float(mean(self._of_cases(records))), classes

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """The interval of the mean over cases."""
        return bootstrap_interval(self._of_cases(records))

    def left_out(self, records: Sequence[Any]) -> int | None:
        """The number of cases with a class that prediction or label has, but that has no score."""
        return sum(bool(without.any()) for _, without in records) if self.leaves_out else None

    def _of_cases(self, records: Sequence[Any]) -> Float[np.ndarray, " n"]:
        return np.array([float(mean(scores)) for scores, _ in records])


@dataclass(frozen=True)
class Pooled:
    """A score of counts that are added over cases."""

    counts: Callable[[Case], np.ndarray]
    score: Callable[[np.ndarray], np.ndarray]
    needs: tuple[Need, ...]
    higher_is_better: bool = True
    in_mm: bool = False

    def of(self, case: Case) -> np.ndarray:
        """The counts of one case."""
        return self.counts(case)

    def total(self, records: Sequence[Any]) -> tuple[float, Float[np.ndarray, " k"] | None]:
        """The score of the sum."""
        score = self.score(np.stack(records).sum(0))
        return float(mean(np.atleast_1d(score))), score if score.ndim else None

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """The interval of the score of sums over drawn cases."""
        stacked = np.stack(records)
        one = lambda drawn: float(mean(np.atleast_1d(self.score(stacked[drawn].sum(0)))))  # noqa: E731
        return bootstrap(one, len(stacked))


@dataclass(frozen=True)
class Coco:
    """One of COCO's numbers, over the objects of all cases and classes; images only.

    Objects are the ``detections`` of a case where it has them. Otherwise they come from its maps,
    and an object's score is the mean probability of its class over its pixels. Where the label is
    IGNORE lies a crowd of every class: what is found there is no mistake.
    """

    stat: str
    needs: tuple[Need, ...] = ("objects", "probabilities")
    higher_is_better: bool = True
    in_mm: bool = False

    def of(self, case: Case) -> Any:
        """The annotations of found and true objects, masks run-length encoded."""
        assert case.true is not None
        truths, void = [], case.label == IGNORE
        for k in case.things:
            truths += [Truth(0, k, mask) for mask in _masks(case.true.of(k))]
            if void.any():
                truths.append(Truth(0, k, void, crowd=True))
        return coco_record(_detections(case), truths)

    def total(self, records: Sequence[Any]) -> tuple[float, None]:
        """The number over all objects together."""
        return coco_of_records(records)[self.stat], None

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """The interval over drawn images."""
        return bootstrap(coco_resampled(records, self.stat), len(records), draws=200)


def _detections(case: Case) -> list[Found]:
    if case.detections is not None:
        return [one for one in case.detections if one.category in case.things]
    assert case.found is not None and case.probabilities is not None
    return [
        Found(0, k, mask, float(case.probabilities[..., k][mask].mean()))
        for k in case.things
        for mask in _masks(case.found.of(k))
    ]


def _masks(numbers: Map) -> list[Mask]:
    return [numbers == number for number in np.unique(numbers[numbers > 0])]
