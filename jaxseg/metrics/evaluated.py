"""The result of evaluating a split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from jaxseg.metrics.bootstrap import bootstrap
from jaxseg.metrics.confusion import MORE, SCORES, Confusion
from jaxseg.metrics.named import CASE_SCORES


@dataclass(frozen=True)
class Evaluated:
    """Pixels counted together, and the records of cases of the scores that were ``named``.

    ``matrices`` are the confusion matrices of the cases, for intervals; None where none are wanted.
    ``unit`` is that of distances.
    """

    confusion: Confusion
    named: Sequence[str] = ()
    records: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    matrices: Int[np.ndarray, "n k k"] | None = None
    unit: Literal["mm", "pixels"] = "pixels"

    def scores(self, class_names: Sequence[str] | None = None) -> dict[str, Any]:
        """Plain numbers for reports: those of ``Confusion``, and after them those of cases.

        Beside a score's number, ``<score>_per_class`` where it has classes, by name if there are
        ``class_names``. What is NaN is left out of every mean.
        """
        report = self.confusion.scores(class_names, [n for n in self.named if n in MORE])
        for name, records in self.records.items():
            value, classes = CASE_SCORES[name].total(records)
            report[name] = value
            if classes is not None:
                values = [float(one) for one in classes]
                report[f"{name}_per_class"] = (
                    dict(zip(class_names, values, strict=True)) if class_names else values
                )
        return report

    @property
    def distances_in(self) -> dict[str, str]:
        """The unit of distances, where any of the scores is one."""
        some = any(CASE_SCORES[name].in_mm for name in self.records)
        return {"distances_in": self.unit} if some else {}

    def intervals(self) -> dict[str, list[float]]:
        """``<score>_interval`` of the named scores: the ends of 95 %, by bootstrap over cases."""
        found = {}
        for name in self.named:
            if name in self.records:
                found[f"{name}_interval"] = CASE_SCORES[name].interval(self.records[name])
            elif self.matrices is not None and name in (*SCORES, *MORE):
                found[f"{name}_interval"] = bootstrap(self._redrawn(name), len(self.matrices))
        return {name: list(ends) for name, ends in found.items()}

    def _redrawn(self, name: str):
        def score(drawn: Int[np.ndarray, " n"]) -> float:
            assert self.matrices is not None
            whole = self.matrices[drawn].sum(0)
            return float(Confusion(matrix=whole).score(name))  # pyright: ignore[reportCallIssue]

        return score
