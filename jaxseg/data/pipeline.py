"""From a data set to batches: grain reads, shuffles, repeats, cuts patches and stacks.

The order is one global order of examples, and each process takes its contiguous rows of every
global batch. So batches depend on the seed and the batch size only: not on the number of
processes, of worker processes or of threads, and not on where a run was interrupted.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from jaxseg.data.auto import Auto
from jaxseg.data.cache import Disk, Memory, Nothing, default_folder, default_limit
from jaxseg.data.cases import (
    Cases,
    Decoded,
    Labels,
    Prepare,
    Reading,
    checked_image,
    decoded,
    finish,
    padded,
)
from jaxseg.data.checks import size
from jaxseg.data.intensities import Intensities, scale_line, some_of
from jaxseg.data.normalize import Channels, Normalize, Unit
from jaxseg.data.sampling import (
    crop_case,
    foreground_corner,
    grid,
    random_corner,
    takes_foreground,
)
from jaxseg.data.shares import Shares, shares
from jaxseg.data.weight_map import WeightMap
from jaxseg.errors import UserError, require
from jaxseg.types import Batch, Objects

THREADS = 2
"""Reading threads a process: decoding and copying mostly release the interpreter lock."""

AHEAD = 4
"""Batches read ahead of the one in use."""

Sampling = Literal["random", "grid"]
Cache = Literal["memory", "disk", "none"]

ENDLESS = 1 << 62
"""Examples in a run; grain counts in 64 bits."""


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
        if not 0 <= seed < 2**32:
            raise UserError(f"seed={seed}: must be in [0, 2^32)")
        how = self._reading(self.labels, self.foreground > 0, self.weight_map)
        cases = self._open("train", how)
        numbers = self._numbers(len(cases))
        patch = self.patch or _only_size(cases, numbers)
        positions = Grid(cases, numbers, patch) if self.sampling == "grid" else Whole(numbers)
        draw = Draw(
            cases, patch, self.foreground, seed, fixed=self.patch is None, objects=self.objects
        )
        order = Order(positions, draw, seed, batch_size, first, last - first)
        return Batches(order, self.workers)

    def cases(self, split: str, labels: Labels = "needed") -> Cases:
        """Whole normalised cases of a split; for evaluation with their labels, always."""
        self._refuse_impossible()
        return Cases(self._open(split, self._reading(labels)))

    def image(self, raw: np.ndarray, *, name: str) -> np.ndarray:
        """One raw image ``[*spatial c]`` as the network takes it; ``name`` is for errors."""
        return checked_image(raw, self._reading("needed"), (name,))

    def fitted(self) -> "Data":
        """The data with an `Auto` that has seen the training split; else as they are."""
        if not isinstance(self.normalize, Auto) or self.normalize.fitted:
            return self
        self._refuse_impossible()
        plain = dataclasses.replace(self, cache="none", normalize=Unit())
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
        if self.sampling == "grid" and self.patch is None:
            raise UserError("data.sampling=grid needs data.patch")


def _only_size(cases: Decoded, numbers: tuple[int, ...]) -> tuple[int, ...]:
    """The size of the first of whole images, which `Draw` holds the others to."""
    return tuple(int(n) for n in cases[numbers[0]]["image"].shape[:-1])


@dataclass(frozen=True)
class Whole:
    """An epoch: each of these cases once, the place of the patch still open."""

    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[int, tuple[int, ...] | None]:
        return self.numbers[index], None


class Grid:
    """An epoch: every patch of a grid over each case. Reads them once to learn their sizes."""

    def __init__(self, cases: Decoded, numbers: tuple[int, ...], patch: tuple[int, ...]):
        self.numbers = numbers
        self.places = [
            (i, tuple(int(n) for n in corner))
            for i in numbers
            for corner in grid(cases[i]["image"].shape[:-1], patch)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[int, tuple[int, ...]]:
        return self.places[index]


@dataclass(frozen=True)
class Draw:
    """Reads the patch of one example; what is random depends on seed and global index only."""

    cases: Decoded
    patch: tuple[int, ...]
    share: float
    seed: int
    fixed: bool
    """Images must have the patch's size."""
    objects: int | None = None
    said: dict = field(default_factory=dict, compare=False, repr=False)
    """What was said already: a line of thousands of images would be thousands of lines."""

    def __call__(self, index: int, place: tuple[int, tuple[int, ...] | None]) -> dict:
        """Example ``index`` of the whole run: the patch of the case that ``place`` names."""
        number, corner = place
        case = self.cases[number]
        spatial = case["image"].shape[:-1]
        if self.fixed and spatial != self.patch:
            raise UserError(
                f"{self.cases.files(number)[0]}: {size(spatial)} where the first image is "
                f"{size(self.patch)}; set data.patch to train on patches of one size"
            )
        if "label" not in case:
            raise UserError(
                f"{self.cases.files(number)[0]}: no label to train on; "
                'data.labels="optional" trains without'
            )
        if corner is None:
            rng = np.random.default_rng((self.seed, index))
            if "points" in case and takes_foreground(index, self.share):
                corner = foreground_corner(rng, case["points"], spatial, self.patch)
            else:
                corner = random_corner(rng, spatial, self.patch)
        piece = crop_case(case, corner, self.patch)
        done = finish(piece, case.get("statistics"), self.cases, number)
        if "objects" in done:
            done["objects"] = self._padded(done["objects"], number)
        return done

    def _padded(self, objects: Objects, number: int) -> Objects:
        if self.objects is None:
            raise UserError(
                f"{self.cases.files(number)[0]}: has objects; data.objects says to how many those "
                "of an image are filled up"
            )
        count, token = len(objects.boxes), object()
        # setdefault is one step for all threads, which a look and a write are not
        if count > self.objects and self.said.setdefault("objects", token) is token:
            logging.getLogger("jaxseg").warning(
                f"{self.cases.files(number)[0]}: {count} objects, of which data.objects="
                f"{self.objects} keeps the largest; not said of further images"
            )
        return padded(objects, self.objects)


@dataclass(frozen=True)
class Order:
    """The global order of examples, cut into this process's rows of each batch."""

    positions: Any
    draw: Draw
    seed: int
    batch_size: int
    first: int
    count: int

    def batches(self, start: int) -> Any:
        """grain's data set of batches from number ``start`` on."""
        import grain

        examples = grain.MapDataset.source(self.positions).seed(self.seed).shuffle().repeat()
        examples = examples.map_with_index(self.draw)
        mine = Rows(examples, self.batch_size, self.first, self.count, start)
        stacked = grain.MapDataset.source(mine).batch(self.count, batch_fn=stack)
        return stacked.to_iter_dataset(
            grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
        )


@dataclass(frozen=True)
class Rows:
    """Element j is the j-th example that this process has to read, from batch ``start`` on."""

    examples: Any
    batch_size: int
    first: int
    count: int
    start: int

    def __len__(self) -> int:
        return (ENDLESS // self.batch_size - self.start) * self.count

    def __getitem__(self, index: int) -> dict:
        batch, row = divmod(index, self.count)
        return self.examples[(self.start + batch) * self.batch_size + self.first + row]


def stack(examples: Sequence[dict]) -> Batch:
    """A batch of these examples, all valid; UserError where one has fields that another lacks."""
    first = examples[0]
    for example in examples:
        if example.keys() != first.keys():
            differ = sorted(example.keys() ^ first.keys())
            raise UserError(
                f"data: some cases have {', '.join(differ)} and others do not; a batch needs all"
            )
    rows: dict[str, Any] = {k: _stacked([e[k] for e in examples]) for k in first}
    return Batch(valid=np.ones(len(examples), bool), **rows)


def _stacked(values: Sequence[Any]) -> Any:
    """Arrays, or records of arrays, with a leading axis."""
    if not isinstance(values[0], Objects):
        return np.stack(values)
    columns = zip(*values, strict=True)
    arrays: list[Any] = [None if c[0] is None else np.stack(c) for c in columns]
    return Objects(*arrays)


class Batches:
    """An iterator over batches whose whole state is the number of the next one.

    ``get_state`` is a dict that JSON can hold; after ``set_state`` the same batches follow, also
    with another number of workers or another split of the rows over processes. ``close`` ends
    worker processes, which otherwise complain when the interpreter ends.
    """

    def __init__(self, order: Order, workers: int):
        self._order = order
        self._workers = workers
        self._next = 0
        self._running: Any = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._running is None:
            self._running = iter(self._dataset())
        try:
            batch = next(self._running)
        except BaseException:
            self.close()  # else the interpreter waits for threads and workers at its end
            raise
        self._next += 1
        return batch

    def _dataset(self) -> Any:
        import grain
        from absl import flags

        dataset = self._order.batches(self._next)
        if not self._workers:
            return dataset
        if not flags.FLAGS.is_parsed():  # grain's workers inherit absl flags, parsed or not
            flags.FLAGS.mark_as_parsed()
        options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=2)
        return dataset.mp_prefetch(options)

    def get_state(self) -> dict[str, int]:
        """The number of the batch that comes next."""
        return {"next_index": self._next}

    @property
    def cases(self) -> int:
        """Number of cases to train on."""
        return len(self._order.positions.numbers)

    def shares(self) -> Shares | None:
        """The share of each class among the cases to train on; None where labels are hidden.

        What is read for it is kept for the first epoch.
        """
        cases, numbers = self._order.draw.cases, self._order.positions.numbers
        if cases.reading.labels == "hidden":
            return None
        return shares(cases, numbers, cases.reading.num_classes)

    def scale_lines(self) -> list[str]:
        """A line on raw images whose scale nothing brings near [0, 1], where there is one."""
        cases = self._order.draw.cases
        if not isinstance(cases.reading.normalize, Unit | Channels):
            return []
        chosen = some_of(self._order.positions.numbers)
        line = scale_line(cases[i]["image"] for i in chosen)
        return [line] if line else []

    def intensities(self) -> Intensities:
        """Those of the normalised images to train on."""
        cases = Cases(self._order.draw.cases)
        return Intensities.of(cases[i]["image"] for i in some_of(self._order.positions.numbers))

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes to a batch, forward or back."""
        if state.get("streams"):
            raise UserError(
                f"streams=[]: the checkpoint has {sorted(state['streams'])}; a run goes on with "
                "the streams that it began with"
            )
        self.close()
        self._next = int(state["next_index"])

    def close(self) -> None:
        """Ends threads and worker processes; the next batch starts them again."""
        running, self._running = self._running, None
        if running is not None:
            running.close()
