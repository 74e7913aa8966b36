"""A metric of the lab."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxseg.metrics import Case, bootstrap_interval


@dataclass(frozen=True)
class Agreement:
    """Share of the pixels with a label whose class was found, a mean over cases."""

    higher_is_better = True
    needs = ()
    in_mm = False

    def of(self, case: Case) -> float:
        known = case.label >= 0
        return float((case.prediction == case.label)[known].mean())

    def total(self, records: Sequence[float]) -> tuple[float, None]:
        return float(np.mean(records)), None

    def interval(self, records: Sequence[float]) -> tuple[float, float]:
        return bootstrap_interval(np.asarray(records))
