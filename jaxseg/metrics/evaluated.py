"""The result of evaluating a split."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from jaxseg.errors import UserError
from jaxseg.metrics.bootstrap import bootstrap
from jaxseg.metrics.cases import LeavesOut, NamedScore
from jaxseg.metrics.confusion import MORE, SCORES, Confusion, mean
from jaxseg.metrics.named import CASE_SCORES

OF_CASES = ("dice", "iou")
"""The scores of pixels that `Evaluated.cases` gives of each case."""


@dataclass(frozen=True)
class Evaluated:
    """Pixels counted together, and the records of cases for the scores that were ``named``.

    ``matrices`` are the confusion matrices of the cases, for intervals; None where no interval is
    wanted. ``unit`` is that of distances. ``of_cases`` are the scores that made the records
    (`scores_of`), one's own among them. ``names`` and ``losses`` are those of the cases, in the
    order of matrices and records; a loss that nobody has computed is NaN.
    """

    confusion: Confusion
    named: Sequence[str] = ()
    records: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    matrices: Int[np.ndarray, "n k k"] | None = None
    unit: Literal["mm", "pixels"] = "pixels"
    of_cases: Mapping[str, NamedScore] = field(default_factory=lambda: CASE_SCORES)
    names: Sequence[str] = ()
    losses: Sequence[float] = ()

    def scores(self, class_names: Sequence[str] | None = None) -> dict[str, Any]:
        """Plain numbers for reports: those of ``Confusion``, and after them those of cases.

        Beside a score's number stands ``<score>_per_class`` where it has classes, by name if there
        are ``class_names``, and ``<score>_cases_left_out`` where it leaves cases out. What is NaN
        is left out of every mean.
        """
        report = self.confusion.scores(class_names, [n for n in self.named if n in MORE])
        for name, records in self.records.items():
            score = self.of_cases[name]
            total = score.total(records)
            if not isinstance(total, tuple) or len(total) != 2:
                raise UserError(
                    f"evaluation.metrics: {type(score).__name__}.total gives {total!r}; it is to "
                    "give the number, and one for each class or None"
                )
            report |= _reported(name, *total, class_names)
            left_out = score.left_out(records) if isinstance(score, LeavesOut) else None
            if left_out is not None:
                report[f"{name}_cases_left_out"] = left_out
        loss = self._loss()
        return report if loss is None else report | {"loss": loss}

    def _loss(self) -> float | None:
        """The mean over the cases of which a pixel counts; None where none was computed."""
        losses = np.asarray(self.losses, float)
        if not losses.size or np.isnan(losses).all() or self.matrices is None:
            return None
        counting = self.matrices.sum((1, 2)) > 0
        return float(losses[counting].mean()) if counting.any() else None

    def cases(self, class_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """A row a case: ``case``, its name, and then its scores as `scores` words them.

        Dice and IoU are those of the case's own pixels, their mean over the classes that it has;
        beside them stands each score of cases that was named. NaN where a case has no value.
        """
        matrices = [] if self.matrices is None else self.matrices
        rows = []
        for number, (name, matrix) in enumerate(zip(self.names, matrices, strict=True)):
            counted = Confusion(matrix=matrix)  # pyright: ignore[reportCallIssue]
            row: dict[str, Any] = {"case": name}
            for of_pixels in OF_CASES:
                classes = getattr(counted, of_pixels)()
                row |= _reported(of_pixels, mean(classes), classes, class_names)
            with warnings.catch_warnings():  # numpy's, of a mean over a case without a value
                warnings.simplefilter("ignore", RuntimeWarning)
                for score, records in self.records.items():
                    found = self.of_cases[score].total([records[number]])
                    row |= _reported(score, *found, class_names)
            rows.append(row)
        return rows

    @property
    def distances_in(self) -> dict[str, str]:
        """The unit of distances, where any of the scores is one."""
        some = any(self.of_cases[name].in_mm for name in self.records)
        return {"distances_in": self.unit} if some else {}

    def intervals(self) -> dict[str, list[float]]:
        """``<score>_interval`` of the named scores: the ends of 95 %, by bootstrap over cases."""
        found = {}
        for name in self.named:
            if name in self.records:
                found[f"{name}_interval"] = self.of_cases[name].interval(self.records[name])
            elif self.matrices is not None and name in (*SCORES, *MORE):
                found[f"{name}_interval"] = bootstrap(self._redrawn(name), len(self.matrices))
        return {name: [float(end) for end in ends] for name, ends in found.items()}

    def _redrawn(self, name: str):
        def score(drawn: Int[np.ndarray, " n"]) -> float:
            assert self.matrices is not None
            whole = self.matrices[drawn].sum(0)
            return float(Confusion(matrix=whole).score(name))  # pyright: ignore[reportCallIssue]

        return score


def _reported(
    name: str, value: Any, classes: Any, class_names: Sequence[str] | None
) -> dict[str, Any]:
    """A score as plain numbers: its value, and beside it each class's, if it has classes."""
    if classes is None:
        return {name: float(value)}
    values = [float(one) for one in classes]
    by_class = dict(zip(class_names, values, strict=True)) if class_names else values
    return {name: float(value), f"{name}_per_class": by_class}
