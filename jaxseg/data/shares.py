"""How often each class occurs in a split, and which never does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxseg.data.checks import check_labels, few
from jaxseg.data.protocols import Source
from jaxseg.data.sampling import slabs
from jaxseg.types import IGNORE


@dataclass(frozen=True)
class Shares:
    """Pixels by class of a split. ``unlabeled``: cases without a label."""

    counts: tuple[int, ...]
    ignored: int
    cases: int
    unlabeled: int = 0

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the pixels that are not ignored; 0 where there are none."""
        total = max(sum(self.counts), 1)
        return tuple(count / total for count in self.counts)

    @property
    def absent(self) -> tuple[int, ...]:
        """Classes without one pixel."""
        return tuple(k for k, count in enumerate(self.counts) if not count)

    def missing(self, class_names: Sequence[str] = (), *, split: str = "train") -> str | None:
        """One line that names the classes without a pixel; None where each has some."""
        if not self.absent:
            return None
        named = [f"{k} ({class_names[k]})" if class_names else str(k) for k in self.absent]
        what = "class" if len(named) == 1 else "classes"
        return (
            f"{what} {few(named)}: no pixel in the {self.cases} cases of the {split} split; "
            "are `values`, `ignore` and num_classes those of the masks?"
        )


def shares_of(cases: Source, num_classes: int) -> Shares:
    """Counts the labels of each case, which is read once; refuses what is no class.

    ``cases``: a source, `Decoded` or `Cases`.
    """
    counts, unlabeled = np.zeros(num_classes + 1, np.int64), 0
    for index in range(len(cases)):
        label = cases[index].get("label")
        if label is None:
            unlabeled += 1
            continue
        for _, slab in slabs(label):
            flat = np.asarray(slab).reshape(-1)
            check_labels(flat, num_classes, f"case {index}")
            counts += np.bincount(flat.astype(np.int64) - IGNORE, minlength=num_classes + 1)
    ignored, *seen = counts.tolist()
    return Shares(tuple(seen), ignored, len(cases), unlabeled)
