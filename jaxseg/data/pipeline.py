"""From a data set to batches: grain reads, shuffles, repeats, cuts patches and stacks.

The order is one global order of examples, and each process takes its contiguous rows of every
global batch. So batches depend on the seed and the batch size only: not on the number of
processes, of worker processes or of threads, and not on where a run was interrupted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxseg.data.cache import Disk, Memory, Nothing, default_folder, default_limit
from jaxseg.data.cases import Cases, Decoded, decoded, finish
from jaxseg.data.checks import size
from jaxseg.data.sampling import (
    crop_case,
    foreground_corner,
    grid,
    random_corner,
    takes_foreground,
)
from jaxseg.data.weight_map import WeightMap
from jaxseg.errors import UserError
from jaxseg.types import Batch

THREADS = 2
"""Reading threads a process: decoding and copying mostly release the interpreter lock."""

AHEAD = 4
"""Batches read ahead of the one in use."""

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
    ``normalize``: "unit" puts integers into [0, 1] by their dtype's full scale; "zscore" takes mean
    and deviation of each channel over the whole image (not over the patch).
    ``weight_map``: fills the batch's pixel weights, which every loss then takes as factors.
    ``workers``: processes that decode and cut; each keeps its own memory cache, so with many of
    them ``cache="disk"`` is the better one.
    """

    dataset: Any
    root: str = ""
    patch: tuple[int, ...] | None = None
    foreground: float = 0.0
    sampling: Literal["random", "grid"] = "random"
    normalize: Literal["unit", "zscore"] = "unit"
    workers: int = 0
    cache: Literal["memory", "disk", "none"] = "memory"
    weight_map: WeightMap | None = None

    def train(self, *, batch_size: int, seed: int, rows: slice = slice(None)) -> "Batches":
        """Endless shuffled batches of the split ``train``.

        ``rows``: this process's contiguous rows of each global batch of ``batch_size``.
        """
        self._refuse_impossible()
        first, last, step = rows.indices(batch_size)
        if step != 1 or last <= first:
            raise UserError(f"rows {rows} take no contiguous part of batch_size={batch_size}")
        if not 0 <= seed < 2**32:
            raise UserError(f"seed={seed}: must be in [0, 2^32)")
        cases = self._open("train", points=self.foreground > 0, weight_map=self.weight_map)
        if not len(cases):
            raise UserError(f"data.root={self.root!r}: the train split is empty")
        patch = self.patch or _only_size(cases)
        positions = Grid(cases, patch) if self.sampling == "grid" else Whole(cases)
        draw = Draw(cases, patch, self.foreground, seed, fixed=self.patch is None)
        order = Order(positions, draw, seed, batch_size, first, last - first)
        return Batches(order, self.workers)

    def cases(self, split: str) -> Cases:
        """Whole normalised cases of a split, for evaluation."""
        self._refuse_impossible()
        return Cases(self._open(split, points=False))

    def check(self, split: str) -> int:
        """Reads every case of a split, so that bad input shows before training; their number."""
        cases = self.cases(split)
        for index in range(len(cases)):
            cases[index]
        return len(cases)

    def _open(self, split: str, *, points: bool, weight_map: WeightMap | None = None) -> Decoded:
        share = default_limit() // max(self.workers, 1)
        kept = {"memory": Memory(share), "disk": Disk(default_folder()), "none": Nothing()}
        return decoded(
            self.dataset,
            str(Path(self.root).expanduser()) if self.root else "",
            split,
            zscore=self.normalize == "zscore",
            points=points,
            cache=kept[self.cache],
            weight_map=weight_map,
        )

    def _refuse_impossible(self) -> None:
        rank = self.dataset.rank
        if self.patch is not None and (len(self.patch) != rank or min(self.patch) < 1):
            raise UserError(
                f"data.patch={self.patch}: needs {rank} positive sizes, the data's rank"
            )
        if not 0 <= self.foreground <= 1:
            raise UserError(f"data.foreground={self.foreground}: must be in [0, 1]")
        if self.foreground and (self.patch is None or self.sampling == "grid"):
            raise UserError("data.foreground needs data.patch and data.sampling=random")
        if self.sampling == "grid" and self.patch is None:
            raise UserError("data.sampling=grid needs data.patch")
        if self.workers < 0:
            raise UserError(f"data.workers={self.workers}: must be 0 or more")


def _only_size(cases: Decoded) -> tuple[int, ...]:
    """Of whole images: the first one's, which `Draw` holds the others to."""
    return tuple(int(n) for n in cases[0]["image"].shape[:-1])


@dataclass(frozen=True)
class Whole:
    """An epoch: each case once, the place of the patch still open."""

    cases: Decoded

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[int, tuple[int, ...] | None]:
        return index, None


class Grid:
    """An epoch: every patch of a grid over each case. Reads all cases once to learn their sizes."""

    def __init__(self, cases: Decoded, patch: tuple[int, ...]):
        sizes = [cases[i]["image"].shape[:-1] for i in range(len(cases))]
        self.places = [
            (i, tuple(int(n) for n in corner))
            for i, spatial in enumerate(sizes)
            for corner in grid(spatial, patch)
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

    def __call__(self, index: int, place: tuple[int, tuple[int, ...] | None]) -> dict:
        """Example ``index`` of the whole run: the patch of the case that ``place`` names."""
        number, corner = place
        case = self.cases[number]
        spatial = case["image"].shape[:-1]
        if self.fixed and spatial != self.patch:
            raise UserError(
                f"{self.cases.source.files(number)[0]}: {size(spatial)} where the first image is "
                f"{size(self.patch)}; set data.patch to train on patches of one size"
            )
        if "label" not in case:
            raise UserError(f"{self.cases.source.files(number)[0]}: no label to train on")
        if corner is None:
            rng = np.random.default_rng((self.seed, index))
            if "points" in case and takes_foreground(index, self.share):
                corner = foreground_corner(rng, case["points"], spatial, self.patch)
            else:
                corner = random_corner(rng, spatial, self.patch)
        piece = crop_case(case, corner, self.patch)
        return finish(piece, case.get("statistics"), self.cases, number)


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
    """Examples -> a batch, all valid."""
    arrays = {k: np.stack([e[k] for e in examples]) for k in examples[0]}
    return Batch(valid=np.ones(len(examples), bool), **arrays)


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
        """Of the batch that comes next."""
        return {"next_index": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        """Goes to a batch, forward or back."""
        self.close()
        self._next = int(state["next_index"])

    def close(self) -> None:
        """Ends threads and worker processes; the next batch starts them again."""
        running, self._running = self._running, None
        if running is not None:
            running.close()
