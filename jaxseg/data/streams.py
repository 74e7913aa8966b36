"""Further data beside the main data of a run: unlabelled images, another domain, held-out parts."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxseg.data.class_shares import ClassShares
from jaxseg.data.intensities import Intensities
from jaxseg.data.pipeline import Batches, Data
from jaxseg.errors import UserError, require
from jaxseg.types import Batch


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Data that every step sees beside the main data, in batches of its own size.

    ``batch_size`` None is the experiment's.
    """

    data: Data
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse an empty batch."""
        fine = self.batch_size is None or self.batch_size >= 1
        require(fine, "streams.batch_size", self.batch_size, "at least 1")


def check_streams(data: Data, streams: Mapping[str, Stream]) -> None:
    """Refuse streams whose images are of another rank or number of channels than the data's."""
    for name, stream in streams.items():
        for what in ("rank", "channels"):
            have, wanted = getattr(stream.data.dataset, what), getattr(data.dataset, what)
            if have != wanted:
                raise UserError(
                    f"streams.{name}.data.dataset has {what} {have}, data.dataset has {wanted}; "
                    "a step sees both with one network"
                )


def train_batches(
    data: Data,
    streams: Mapping[str, Stream],
    *,
    batch_size: int,
    seed: int,
    rows_of: Callable[[int], slice],
) -> "Batches | Joined":
    """Endless batches of the data, with those of the streams in their field ``streams``.

    ``rows_of`` gives this process's rows of a global batch of that many. The order of a stream
    depends on ``seed`` and its name, not on what other streams there are.
    """
    main = data.train(batch_size=batch_size, seed=seed, rows=rows_of(batch_size))
    if not streams:
        return main
    opened: dict[str, Batches] = {}
    for name, stream in streams.items():
        size = stream.batch_size or batch_size
        number = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4])
        try:
            opened[name] = stream.data.train(batch_size=size, seed=number, rows=rows_of(size))
        except UserError as error:
            raise UserError(f"streams.{name}: {error}") from error
    return Joined(main, opened)


class Joined:
    """Batches of the main data with those of the streams beside; one state for all."""

    def __init__(self, main: Batches, streams: Mapping[str, Batches]) -> None:
        self._main, self._streams = main, streams

    def __iter__(self) -> "Joined":
        return self

    def __next__(self) -> Batch:
        try:
            beside = {name: self._of_stream(name) for name in self._streams}
            return next(self._main)._replace(streams=beside)
        except BaseException:
            self.close()  # the others' threads and workers would hold up the interpreter's end
            raise

    def _of_stream(self, name: str) -> Batch:
        try:
            return next(self._streams[name])
        except UserError as error:
            raise UserError(f"streams.{name}: {error}") from error

    @property
    def cases(self) -> int:
        """Number of cases of the main data to train on."""
        return self._main.cases

    def shares(self) -> ClassShares | None:
        """`Batches.shares` of the main data."""
        return self._main.shares()

    def scale_lines(self) -> list[str]:
        """`Batches.scale_lines` of the main data, and of the streams."""
        beside = self._streams.items()
        of_streams = [f"streams.{name}: {x}" for name, one in beside for x in one.scale_lines()]
        return self._main.scale_lines() + of_streams

    def intensities(self) -> Intensities:
        """`Batches.intensities` of the main data."""
        return self._main.intensities()

    def get_state(self) -> dict[str, Any]:
        """Where all of them stand, in what JSON can hold."""
        beside = {name: batches.get_state() for name, batches in self._streams.items()}
        return {**self._main.get_state(), "streams": beside}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a batch; UserError for the state of other streams."""
        kept = state.get("streams", {})
        if set(kept) != set(self._streams):
            raise UserError(
                f"streams={sorted(self._streams)}: the checkpoint has {sorted(kept)}; a run goes "
                "on with the streams that it began with"
            )
        self._main.set_state({"next_index": state["next_index"]})
        for name, batches in self._streams.items():
            batches.set_state(kept[name])

    def close(self) -> None:
        """End threads and worker processes of all."""
        for batches in (self._main, *self._streams.values()):
            batches.close()
