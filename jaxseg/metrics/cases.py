"""What is known of a case, and the kinds of scores that are computed of cases on the host.

Each makes a record of every case; what it says of a split, and the interval by bootstrap over
cases, is made of records:

- most are the score of each class of a case, and then averaged over cases (`PerCase`): unlike those
  of ``Confusion``, which count all pixels of the split together;
- `Pooled` ones count over the cases (panoptic quality, calibration), `Coco` ranks objects of all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from jaxseg.metrics.bootstrap import bootstrap, bootstrap_interval
from jaxseg.metrics.coco import Found, Truth, coco_of_records, coco_record, coco_resampled
from jaxseg.metrics.confusion import mean
from jaxseg.metrics.surface import Mask, Spacing, Surfaces, surfaces
from jaxseg.types import IGNORE

Map = Int[np.ndarray, "*spatial"]
Need = Literal["objects", "probabilities", "calibration"]


@dataclass(frozen=True)
class Objects:
    """The class of each pixel, and the number of its object, from 1; 0: of none."""

    classes: Map
    numbers: Map

    def of(self, number: int) -> Map:
        """The objects of one class."""
        return np.where(self.classes == number, self.numbers, 0)


@dataclass(frozen=True)
class Case:
    """What is known of one case; what no score that is named needs is None.

    ``leave_out`` are the classes without a score (the background), ``things`` those with objects.
    """

    prediction: Map
    label: Map
    num_classes: int
    spacing: Spacing = None
    leave_out: Sequence[int] = ()
    things: Sequence[int] = ()
    found: Objects | None = None
    true: Objects | None = None
    probabilities: Float[np.ndarray, "*spatial k"] | None = None
    calibration: Float[np.ndarray, "3 bins"] | None = None
    _surfaces: dict[tuple[int, bool], Surfaces] = field(default_factory=dict, repr=False)

    def masks(self, number: int) -> tuple[Mask, Mask]:
        """Prediction and label of one class; pixels whose label is IGNORE are in neither."""
        return (self.prediction == number) & (self.label != IGNORE), self.label == number

    def surfaces(self, number: int, *, subvoxel: bool = False) -> Surfaces:
        """Of one class, computed once for all scores."""
        key = number, subvoxel
        if key not in self._surfaces:
            masks = self.masks(number)
            self._surfaces[key] = surfaces(*masks, subvoxel=subvoxel, spacing=self.spacing)
        return self._surfaces[key]

    def objects(self, number: int) -> tuple[Map, Map]:
        """Prediction's and label's of one class; pixels whose label is IGNORE are of none."""
        assert self.found is not None and self.true is not None
        return np.where(self.label == IGNORE, 0, self.found.of(number)), self.true.of(number)


@runtime_checkable
class NamedScore(Protocol):
    """One of ``CASE_SCORES``."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a run may keep the checkpoint that has the highest."""
        ...

    @property
    def needs(self) -> tuple[Need, ...]:
        """What a `Case` must hold beside its label maps."""
        ...

    @property
    def in_mm(self) -> bool:
        """Whether it is a distance, in the unit of the case's spacing."""
        ...

    def of(self, case: Case) -> Any:
        """The record of one case: arrays, numbers and strings."""
        ...

    def total(self, records: Sequence[Any]) -> tuple[float, Float[np.ndarray, " k"] | None]:
        """Of all cases: one number, and one a class where it has any."""
        ...

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """The 95 % interval of the number, by bootstrap over cases."""
        ...


@dataclass(frozen=True)
class PerCase:
    """The score of each class of a case; of several cases, the mean of means over classes.

    NaN where a score has no value (an absent class) or the class is left out.
    """

    score: Callable[[Case, int], float]
    higher_is_better: bool = True
    needs: tuple[Need, ...] = ()
    in_mm: bool = False

    def of(self, case: Case) -> Float[np.ndarray, " k"]:
        """A number a class."""
        scores = np.full(case.num_classes, np.nan)
        for number in range(case.num_classes):
            if self.needs:
                maps = case.objects(number) if number in case.things else ()
            else:
                maps = () if number in case.leave_out else case.masks(number)
            if any(x.any() for x in maps):
                scores[number] = self.score(case, number)
        return scores

    def total(self, records: Sequence[Any]) -> tuple[float, Float[np.ndarray, " k"]]:
        """Means over the cases that have a value."""
        table = np.stack(records)
        classes = np.array([float(mean(column)) for column in table.T])
        return float(mean(self._of_cases(records))), classes

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """Of the mean over cases."""
        return bootstrap_interval(self._of_cases(records))

    def _of_cases(self, records: Sequence[Any]) -> Float[np.ndarray, " n"]:
        return np.array([float(mean(record)) for record in records])


@dataclass(frozen=True)
class Pooled:
    """A score of counts that are added over cases."""

    counts: Callable[[Case], np.ndarray]
    score: Callable[[np.ndarray], np.ndarray]
    needs: tuple[Need, ...]
    higher_is_better: bool = True
    in_mm: bool = False

    def of(self, case: Case) -> np.ndarray:
        """The counts."""
        return self.counts(case)

    def total(self, records: Sequence[Any]) -> tuple[float, Float[np.ndarray, " k"] | None]:
        """Of the sum."""
        score = self.score(np.stack(records).sum(0))
        return float(mean(np.atleast_1d(score))), score if score.ndim else None

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """Of the sums over drawn cases."""
        stacked = np.stack(records)
        one = lambda drawn: float(mean(np.atleast_1d(self.score(stacked[drawn].sum(0)))))  # noqa: E731
        return bootstrap(one, len(stacked))


@dataclass(frozen=True)
class Coco:
    """One of COCO's numbers, of the objects of all cases and classes; images only.

    An object's score is the mean probability of its class over its pixels. Where the label is
    IGNORE lies a crowd of every class: what is found there is no mistake.
    """

    stat: str
    needs: tuple[Need, ...] = ("objects", "probabilities")
    higher_is_better: bool = True
    in_mm: bool = False

    def of(self, case: Case) -> Any:
        """The annotations of found and true objects, masks run-length encoded."""
        assert case.found is not None and case.true is not None and case.probabilities is not None
        found, truths = [], []
        void = case.label == IGNORE
        for k in case.things:
            of_class = case.found.of(k)
            for number in np.unique(of_class[of_class > 0]):
                mask = of_class == number
                score = float(case.probabilities[..., k][mask].mean())
                found.append(Found(0, k, mask, score))
            of_class = case.true.of(k)
            numbers = np.unique(of_class[of_class > 0])
            truths += [Truth(0, k, of_class == number) for number in numbers]
            if void.any():
                truths.append(Truth(0, k, void, crowd=True))
        return coco_record(found, truths)

    def total(self, records: Sequence[Any]) -> tuple[float, None]:
        """Of all objects together."""
        return coco_of_records(records)[self.stat], None

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """Of the objects of drawn images."""
        return bootstrap(coco_resampled(records, self.stat), len(records), draws=200)
