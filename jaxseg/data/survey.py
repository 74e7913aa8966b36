"""What the cases of a split are like: sizes, intensities, classes, and which are unlike the rest.

Every case is read once; of its pixels only counts, sums and a small sample are kept.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxseg.data.cases import Cases, finish
from jaxseg.data.class_shares import ClassShares, counted
from jaxseg.errors import UserError

POOLED = 1 << 21
"""Raw intensities of a split, evenly spread over its cases, that percentiles are taken of."""


class Look(NamedTuple):
    """What is kept of one case."""

    name: str
    size: tuple[int, ...]
    spacing: tuple[float, ...] | None
    dtype: str
    low: float
    high: float
    sample: Float[np.ndarray, " n"]
    sums: Float[np.ndarray, "2 c"]
    """Sum and sum of squares of each normalised channel."""
    counts: Int[np.ndarray, " k"] | None
    """Pixels that are ignored, then those of each class; None where labels are hidden."""


@dataclass(frozen=True)
class Survey:
    """The cases of a split that could be read, and what is wrong with the others."""

    looks: tuple[Look, ...]
    refused: tuple[str, ...]
    """A line a case that cannot be used."""

    def percentiles(self, at: Sequence[float]) -> list[float]:
        """Percentiles of the raw intensities of all channels together, from the sample."""
        pooled = np.concatenate([look.sample for look in self.looks])
        return [float(value) for value in np.percentile(pooled, at)]

    def moments(self) -> Float[np.ndarray, "2 c"]:
        """Mean and deviation of each normalised channel, over all pixels."""
        pixels = sum(math.prod(look.size) for look in self.looks)
        mean, square = np.sum([look.sums for look in self.looks], axis=0) / pixels
        return np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0))])

    def shares(self) -> ClassShares | None:
        """The share of each class; None where labels are hidden."""
        counts = [look.counts for look in self.looks if look.counts is not None]
        if not counts:
            return None
        whole = np.sum(counts, axis=0)
        return ClassShares(whole[1:], int(whole[0]), len(counts), len(counts))

    def odd(self) -> Iterator[tuple[str, list[str]]]:
        """What some cases have in which they differ from most, and the names of these cases."""
        kinds: dict[str, Callable[[Look], Any]] = {
            "another size than most": lambda look: look.size,
            "another spacing than most": lambda look: look.spacing,
            "another dtype than most": lambda look: look.dtype,
        }
        for what, kind in kinds.items():
            values = Counter(map(kind, self.looks))
            common, count = values.most_common(1)[0] if values else (None, 0)
            if 2 * count > len(self.looks):
                yield what, [look.name for look in self.looks if kind(look) != common]
        labelled = [look for look in self.looks if look.counts is not None]
        present = {look.name: np.count_nonzero(look.counts[1:]) for look in labelled}  # pyright: ignore
        yield "a label of one class only", [name for name, n in present.items() if n == 1]
        yield "nothing but ignored pixels", [name for name, n in present.items() if n == 0]
        yield "an image of one value", [x.name for x in self.looks if x.low == x.high]


def survey(cases: Cases) -> Survey:
    """All cases of a split, looked at in order; one that cannot be used does not end it."""
    looks, refused = [], []
    for number in range(len(cases)):
        try:
            looks.append(_look(cases, number, POOLED // len(cases)))
        except UserError as error:
            refused.append(str(error))
    return Survey(tuple(looks), tuple(refused))


def _look(cases: Cases, number: int, sampled: int) -> Look:
    decoded = cases.decoded
    raw = decoded[number]
    done = finish(raw, raw.get("statistics"), decoded, number)
    image, reading = raw["image"], decoded.reading
    normal = done["image"].reshape(-1, image.shape[-1]).astype(np.float64)
    flat = image.reshape(-1)
    step = -(-flat.size // max(sampled, 1))
    spacing = raw.get("spacing")
    return Look(
        name=str(raw["name"]),
        size=tuple(int(n) for n in image.shape[:-1]),
        spacing=None if spacing is None else tuple(np.asarray(spacing, float).tolist()),
        dtype=str(image.dtype),
        low=float(image.min()),
        high=float(image.max()),
        sample=np.asarray(flat[::step], np.float64),
        sums=np.stack([normal.sum(0), (normal**2).sum(0)]),
        counts=None if reading.labels == "hidden" else counted(done["label"], reading.num_classes),
    )
