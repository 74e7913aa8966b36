"""Decoded cases, kept so that a file is decoded once and not once an epoch.

``Memory`` keeps arrays until a limit is full and decodes the rest each time: in shuffled epochs
every case is as likely as any other to come next, so throwing one out for another gains nothing.
``Disk`` writes ``.npy`` files once and maps them: a patch of a large image then costs a patch
whatever its format was, worker processes share one copy, and it outlives the run.
"""

import hashlib
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from jaxseg.data.claims import memory
from jaxseg.errors import UserError
from jaxseg.types import BATCH_FIELDS, Objects

MAPPED_FROM = 1 << 16
"""Bytes above which a cached array is memory-mapped; below, reading it is cheaper."""


def default_folder() -> Path:
    """The folder of decoded cases among the user's caches; deleting it loses nothing but time.

    ``$XDG_CACHE_HOME/jaxseg/decoded`` on Linux, by default in ``~/.cache``.
    """
    return platformdirs.user_cache_path("jaxseg", appauthor=False) / "decoded"


def default_limit() -> int:
    """A quarter of the machine's memory, in bytes."""
    return memory() // 4


class Nothing:
    """Decodes every time."""

    def fetch(self, key: str, make: Callable[[], dict]) -> dict:
        """What ``make`` makes."""
        del key
        return make()


@dataclass
class Memory:
    """Up to ``limit`` bytes of decoded arrays, in this process.

    A copy sent to another process starts empty. Memory-mapped arrays count nothing.
    """

    limit: int
    used: int = 0
    _kept: dict[str, dict] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fetch(self, key: str, make: Callable[[], dict]) -> dict:
        """Two threads that miss at once both decode; the first one's arrays are kept."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        case = make()
        size = sum(_bytes(value) for value in _flat(case).values())
        with self._lock:
            if key not in self._kept and self.used + size <= self.limit:
                self._kept[key] = case
                self.used += size
        return case

    def __reduce__(self) -> tuple:
        return Memory, (self.limit,)


@dataclass(frozen=True)
class Disk:
    """A folder a case, named by the hash of its key, one ``.npy`` an array."""

    folder: Path

    def fetch(self, key: str, make: Callable[[], dict]) -> dict:
        """The case; written whole under another name and renamed, so no one reads half of it."""
        place = self.folder / hashlib.sha256(key.encode()).hexdigest()
        if place.is_dir():
            try:
                return _load(place)
            except (OSError, ValueError, EOFError):  # damaged: made again
                shutil.rmtree(place, ignore_errors=True)
        case = make()
        if any(isinstance(value, np.memmap) for value in case.values()):
            return case  # lies on disk as an array already
        self._store(case, place)
        return _load(place)

    def _store(self, case: dict, place: Path) -> None:
        draft = self.folder / f".{place.name[:16]}-{uuid.uuid4().hex[:8]}"
        try:
            draft.mkdir(parents=True)
            for name, value in _flat(case).items():
                np.save(draft / f"{name}.npy", np.asarray(value), allow_pickle=False)
            try:
                draft.rename(place)
            except OSError:
                if not place.is_dir():  # else another process was first, with the same content
                    raise
        except OSError as error:
            raise UserError(
                f"{self.folder}: the decode cache cannot be written ({error.strerror}); "
                "free space there, set XDG_CACHE_HOME (Linux), or use data.cache=memory"
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _load(place: Path) -> dict:
    case: dict = {}
    for path in sorted(place.glob("*.npy")):
        mapped = path.stat().st_size > MAPPED_FROM
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        name, _, part = path.stem.partition(".")
        if part:
            case.setdefault(name, {})[part] = array
        else:
            case[name] = array.item() if array.dtype.kind == "U" else array
    if "image" not in case or "name" not in case:
        raise ValueError(f"{place} is incomplete")
    return {
        name: Objects(**value) if BATCH_FIELDS.get(name) == "objects" else value
        for name, value in case.items()
    }


def _flat(case: dict) -> dict[str, Any]:
    """The arrays of a case by the names of their files: ``objects.boxes`` is one."""
    arrays = {}
    for name, value in case.items():
        if isinstance(value, Objects):
            parts = value._asdict().items()
            arrays |= {f"{name}.{part}": x for part, x in parts if x is not None}
        else:
            arrays[name] = value
    return arrays


def _bytes(value: object) -> int:
    if not isinstance(value, np.ndarray) or isinstance(value, np.memmap):
        return 0
    return value.nbytes
