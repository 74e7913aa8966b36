"""Scores of classes where one class of the labels is void: pixels that belong to none.

A network that has learnt void as a class predicts it here and there, which counts as a miss of the
true class. What it predicts where the *label* is void is where papers differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from jaxseg.errors import UserError
from jaxseg.metrics.bootstrap import bootstrap
from jaxseg.metrics.cases import Case, Need
from jaxseg.metrics.confusion import Confusion, mean


@dataclass(frozen=True)
class VoidScore:
    """A score of all pixels together, a mean over the classes but void.

    ``void`` says what a prediction is where the label is void: a ``false_positive`` of its class
    (the authors of ESPNet), or ``ignored`` (most others). It stands in the score's name. ``number``
    is that of the class, counted from the end where below 0. Pixels whose label is IGNORE never
    count.
    """

    score: Literal["iou", "dice", "precision", "recall"] = "iou"
    void: Literal["false_positive", "ignored"] = "false_positive"
    number: int = -1

    higher_is_better = True
    needs: tuple[Need, ...] = ()
    in_mm = False

    @property
    def name(self) -> str:
        """What it is called in reports, such as ``iou_void_ignored``."""
        return f"{self.score}_void_{self.void}"

    def of(self, case: Case) -> Int[np.ndarray, "k k"]:
        """The case's confusion matrix. UserError where there is no class of this number."""
        k = case.num_classes
        if not -k <= self.number < k:
            raise UserError(
                f"evaluation.metrics: VoidScore.number={self.number}: there are {k} classes"
            )
        known = (case.label >= 0) & (case.label < k)
        cells = case.label[known].astype(np.int64) * k + case.prediction[known]
        return np.bincount(cells, minlength=k * k).reshape(k, k)

    def total(self, records: Sequence[Any]) -> tuple[float, Float[np.ndarray, " k"]]:
        """The mean over the classes, and each class's; void itself has NaN."""
        classes = self._classes(np.stack(records).sum(0))
        return float(mean(classes)), classes

    def interval(self, records: Sequence[Any]) -> tuple[float, float]:
        """The ends of 95 %, by bootstrap over cases."""
        stacked = np.stack(records)
        one = lambda drawn: float(mean(self._classes(stacked[drawn].sum(0))))  # noqa: E731
        return bootstrap(one, len(stacked))

    def _classes(self, matrix: Int[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
        counted = matrix.copy()
        if self.void == "ignored":
            counted[self.number] = 0
        confusion = Confusion(matrix=counted)  # pyright: ignore[reportCallIssue]
        classes = np.array(getattr(confusion, self.score)(), np.float64)
        classes[self.number] = np.nan
        return classes
