"""`Data`: what a run reads, from which data set, and how it becomes batches."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from jaxseg.data.auto import Auto
from jaxseg.data.batches import Batches, Draw, Order, Patches, Whole
from jaxseg.data.cache import Disk, Memory, Nothing, default_folder, default_limit
from jaxseg.data.cases import Cases, Decoded, Labels, Prepare, Reading, decoded, seen
from jaxseg.data.grid import Grid
from jaxseg.data.intensities import some_of
from jaxseg.data.normalize import Normalize, Unit
from jaxseg.data.weight_map import WeightMap
from jaxseg.errors import UserError, require

Sampling = Literal["random", "grid"]
Cache = Literal["memory", "disk", "none"]


@dataclass(frozen=True)
class Data:
    """What is read, and how it becomes batches.

    ``dataset``: ``Folder(...)``, ``ISBI2012()``, ``CamVid()``, ... ; ``root``: where it lies.
    ``patch``: size of a training patch; None takes whole images, which must then share one size.
    Images smaller than the patch are filled up at their end: reflected image, IGNORE label.
    ``sampling``: an epoch sees one random patch of each case, or every patch of a grid over each.
    ``foreground``: share of the random patches that are centred on a pixel of a uniformly chosen
    foreground class (any but 0) of their case; a case without any gives a patch at random.
    ``normalize``: `Unit` puts integers into [0, 1] by their dtype's full scale; `ZScore`,
    `Percentile`, `Range` and `Channels` are others, each by the whole image, not the patch; `Auto`
    goes by the training split.
    ``grid``: cases are cropped and resampled to one spacing before they are cut; predictions and
    scores are in each case's own grid all the same.
    ``prepare``: transforms of raw cases, applied in order when a case is read.
    ``labels``: "needed", a case without one is refused; "optional", it trains with IGNORE
    everywhere; "hidden", no label is looked at. Evaluation always looks at them.
    ``part``: ``(i, n)`` trains on the i-th of n parts of the cases, which share none.
    ``objects``: the objects of an image are filled up to so many; of more, the largest stay.
    ``weight_map``: fills the batch's pixel weights, which every loss then takes as factors.
    ``workers``: processes that decode and cut; each keeps its own memory cache, so with many of
    them ``cache="disk"`` is the better one.
    """

    dataset: Any  # a DataSet; `check_data_set` says what is missing
    root: str = ""
    patch: tuple[int, ...] | None = None
    foreground: float = 0.0
    sampling: Sampling = "random"
    normalize: Normalize = Unit()
    workers: int = 0
    cache: Cache = "memory"
    weight_map: WeightMap | None = None
    prepare: tuple[Prepare, ...] = ()
    labels: Labels = "needed"
    part: tuple[int, int] | None = None
    objects: int | None = None
    grid: Grid | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name, words in (("sampling", Sampling), ("cache", Cache), ("labels", Labels)):
            value, known = getattr(self, name), get_args(words)
            require(value in known, f"data.{name}", value, f"one of {', '.join(known)}")
        require(0 <= self.foreground <= 1, "data.foreground", self.foreground, "in [0, 1]")
        require(self.workers >= 0, "data.workers", self.workers, "at least 0")
        fine = self.part is None or 0 <= self.part[0] < self.part[1]
        require(fine, "data.part", self.part, "(i, n) with 0 <= i < n")
        fine = self.objects is None or self.objects >= 1
        require(fine, "data.objects", self.objects, "at least 1")

    def train(self, *, batch_size: int, seed: int, rows: slice = slice(None)) -> "Batches":
        """An endless iterator over shuffled batches of the split ``train``.

        ``rows``: this process's contiguous rows of each global batch of ``batch_size``.
        """
        self._refuse_impossible()
        first, last, step = rows.indices(batch_size)
        if step != 1 or last <= first:
            raise UserError(f"rows {rows} take no contiguous part of batch_size={batch_size}")
        require(0 <= seed < 2**32, "seed", seed, "in [0, 2^32)")
        how = self._reading(self.labels, self.foreground > 0, self.weight_map)
        cases = self._open("train", how)
        numbers = self._numbers(len(cases))
        patch = self.patch or _only_size(cases, numbers)
        positions = Patches(cases, numbers, patch) if self.sampling == "grid" else Whole(numbers)
        draw = Draw(
            cases, patch, self.foreground, seed, fixed=self.patch is None, objects=self.objects
        )
        order = Order(positions, draw, seed, batch_size, first, last - first)
        return Batches(order, self.workers)

    def cases(self, split: str, labels: Labels = "needed") -> Cases:
        """Whole normalised cases of a split; for evaluation with their labels, always."""
        self._refuse_impossible()
        reading = dataclasses.replace(self._reading(labels), own=self.grid is not None)
        return Cases(self._open(split, reading))

    def image(
        self, raw: np.ndarray, *, name: str, spacing: Sequence[float] | None = None
    ) -> np.ndarray:
        """One raw image ``[*spatial c]`` as the network takes it; ``name`` is for errors.

        ``spacing``, in mm along each axis, is needed by a ``grid`` that has one.
        """
        return seen(raw, spacing, self._reading("needed"), (name,))[0]

    def case(
        self, raw: np.ndarray, *, name: str, spacing: Sequence[float] | None = None
    ) -> dict[str, Any]:
        """One raw image as `cases` gives those of a split: without a label, normalised, placed."""
        image, place = seen(raw, spacing, self._reading("needed"), (name,))
        case = {"name": name, "raw": raw, "image": image}
        return case if place is None else case | {"raw": image, "place": place}

    @property
    def expects(self) -> str:
        """What an exported artifact expects of its images, in words, and does not do to them."""
        said = self.normalize.scale
        if self.grid is not None:
            said += f", on the grid of data.grid={self.grid} (it brings none there)"
        if self.prepare:
            said += f", prepared as data.prepare={self.prepare} would (it does not)"
        return said

    def fitted(self) -> "Data":
        """The data with an `Auto` that has seen the training split; else as they are."""
        if not isinstance(self.normalize, Auto) or self.normalize.fitted:
            return self
        self._refuse_impossible()
        plain = dataclasses.replace(self, cache="none", normalize=Unit(), grid=None)
        cases = plain._open("train", plain._reading(self.labels))
        images = (cases[i]["image"] for i in some_of(self._numbers(len(cases))))
        return dataclasses.replace(self, normalize=self.normalize.fit(images))

    def check(self, split: str) -> int:
        """Reads every case of a split, so that bad input shows before training; their number."""
        cases = self.cases(split)
        for index in range(len(cases)):
            cases[index]
        return len(cases)

    def _numbers(self, count: int) -> tuple[int, ...]:
        """The cases to train on: all, or every n-th from the i-th on."""
        first, step = self.part or (0, 1)
        numbers = tuple(range(first, count, step))
        if not numbers:
            of = f"data.part={self.part} of " if self.part else ""
            raise UserError(f"data.root={self.root!r}: {of}the train split is empty")
        return numbers

    def _reading(
        self, labels: Labels, points: bool = False, weight_map: WeightMap | None = None
    ) -> Reading:
        return Reading(
            rank=self.dataset.rank,
            channels=self.dataset.channels,
            num_classes=self.dataset.num_classes,
            normalize=self.normalize,
            prepare=self.prepare,
            points=points,
            weight_map=weight_map,
            labels=labels,
            grid=self.grid,
        )

    def _open(self, split: str, reading: Reading) -> Decoded:
        share = default_limit() // max(self.workers, 1)
        kept = {"memory": Memory(share), "disk": Disk(default_folder()), "none": Nothing()}
        return decoded(
            self.dataset,
            str(Path(self.root).expanduser()) if self.root else "",
            split,
            reading=reading,
            cache=kept[self.cache],
        )

    def _refuse_impossible(self) -> None:
        rank = self.dataset.rank
        if self.patch is not None and (len(self.patch) != rank or min(self.patch) < 1):
            raise UserError(
                f"data.patch={self.patch}: needs {rank} positive sizes, the data's rank"
            )
        if self.foreground and (self.patch is None or self.sampling == "grid"):
            raise UserError("data.foreground needs data.patch and data.sampling=random")
        spacing = self.grid.spacing if self.grid else None
        if spacing is not None and len(spacing) != rank:
            raise UserError(f"data.grid.spacing={spacing}: needs {rank} numbers, the data's rank")
        if self.sampling == "grid" and self.patch is None:
            raise UserError("data.sampling=grid needs data.patch")


def _only_size(cases: Decoded, numbers: tuple[int, ...]) -> tuple[int, ...]:
    """The size of the first of whole images, which `Draw` holds the others to."""
    return tuple(int(n) for n in cases[numbers[0]]["image"].shape[:-1])
