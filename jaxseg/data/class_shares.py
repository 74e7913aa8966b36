"""The share of each class among the pixels to train on, so that a run can say it."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Integer

from jaxseg.data.checks import few
from jaxseg.data.protocols import Source
from jaxseg.data.sampling import slabs

SAMPLE, SECONDS = 256, 10.0
"""Cases that are counted, or the time that it takes; past either only while a class is unseen."""

LISTED = 12
"""A line lists the shares of so many classes; of more, those of the rarest few."""


class ClassShares(NamedTuple):
    """Counts of pixels by class, over ``read`` of ``cases`` cases."""

    pixels: Int[np.ndarray, " k"]
    ignored: int
    read: int
    cases: int

    @property
    def absent(self) -> tuple[int, ...]:
        """The classes without one pixel; where there are any, all cases were read."""
        return tuple(np.flatnonzero(self.pixels == 0).tolist())

    def unseen(self, class_names: Sequence[str]) -> str | None:
        """What a run says of absent classes: names, number of cases, what to look at."""
        if not self.absent:
            return None
        named = [f"{k} ({class_names[k]})" if class_names else str(k) for k in self.absent]
        return (
            f"{'class' if len(named) == 1 else 'classes'} {few(named)}: no pixel in the "
            f"{self.cases} cases to train on; are `values`, `ignore` and num_classes those of the "
            "masks?"
        )

    def line(self, class_names: Sequence[str]) -> str:
        """The shares, ``background 78.1 %, nucleus 21.9 %``; the ignored ones last, if any."""
        total = max(int(self.pixels.sum()) + self.ignored, 1)
        names = class_names or [str(k) for k in range(len(self.pixels))]
        shown, begin = list(range(len(names))), ""
        if len(names) > LISTED:
            shown = np.argsort(self.pixels, kind="stable")[:3].tolist()
            begin = f"{len(names)} classes, the rarest: "
        parts = [f"{names[k]} {_percent(self.pixels[k] / total)}" for k in shown]
        parts += [f"ignored {_percent(self.ignored / total)}"] if self.ignored else []
        of = f" (in {self.read} of {self.cases} cases)" if self.read < self.cases else ""
        return begin + ", ".join(parts) + of


def shares(cases: Source, numbers: Sequence[int], num_classes: int) -> ClassShares:
    """The shares among these cases: of a sample spread over them, unless a class is rarer."""
    counts, read, begun = np.zeros(num_classes + 1, np.int64), 0, time.monotonic()
    for number in _spread(numbers):
        label = cases[number].get("label")
        counts += 0 if label is None else counted(label, num_classes)
        read += 1
        enough = read >= SAMPLE or time.monotonic() - begun > SECONDS
        if enough and counts[1:].all():
            break
    return ClassShares(counts[1:], int(counts[0]), read, len(numbers))


def counted(
    label: Integer[np.ndarray, "*spatial"], num_classes: int
) -> Int[np.ndarray, " {num_classes}+1"]:
    """The pixels of IGNORE, then those of each class; any other number counts nowhere."""
    counts = np.zeros(num_classes + 1, np.int64)
    for _, slab in slabs(label):
        places = np.asarray(slab, np.int64).reshape(-1) + 1
        places = places[(places >= 0) & (places <= num_classes)]
        counts += np.bincount(places, minlength=num_classes + 1)
    return counts


def _spread(numbers: Sequence[int]) -> Iterator[int]:
    """All numbers, a sample over the whole range first: files are often sorted by content."""
    step = -(-len(numbers) // SAMPLE)
    for first in range(step):
        yield from numbers[first::step]


def _percent(share: float) -> str:
    """A share in percent, ``21.9 %``, and of a rare class two digits: ``0.0043 %``."""
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else f"{100 * share:.2g} %"
