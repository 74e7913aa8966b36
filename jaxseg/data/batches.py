"""Batches of the cases of a split: grain shuffles, repeats, cuts patches and stacks.

The order is one global order of examples, and each process takes its contiguous rows of every
global batch. So batches depend on the seed and the batch size only: not on the number of
processes, of worker processes or of threads, and not on where a run was interrupted.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxseg.data.cases import Cases, Decoded, finish, padded
from jaxseg.data.checks import size
from jaxseg.data.class_shares import ClassShares, shares
from jaxseg.data.intensities import Intensities, scale_line, some_of
from jaxseg.data.normalize import Channels, Unit
from jaxseg.data.sampling import (
    crop_case,
    foreground_corner,
    grid,
    random_corner,
    takes_foreground,
)
from jaxseg.errors import UserError
from jaxseg.types import Batch, Objects

THREADS = 2
"""Reading threads a process: decoding and copying mostly release the interpreter lock."""

AHEAD = 4
"""Batches read ahead of the one in use."""

ENDLESS = 1 << 62
"""Examples in a run; grain counts in 64 bits."""


@dataclass(frozen=True)
class Whole:
    """An epoch: each of these cases once, the place of the patch still open."""

    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[int, tuple[int, ...] | None]:
        return self.numbers[index], None


class Patches:
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

    def shares(self) -> ClassShares | None:
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
        """The intensities of the normalised images to train on."""
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
