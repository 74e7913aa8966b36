"""Digests of what a checkpoint holds, so that one flipped bit is an error and not another number.

``<step>/digests.json`` is written when a save is whole: SHA-256 of each array as it is stored, and
of each of orbax's own files. Orbax compresses without a checksum of its own. A checkpoint without
the file, of an earlier version or of a process killed in between, is read as it is.
"""

import hashlib
import json
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tensorstore as ts

from jaxseg import disk

FILE = "digests.json"

NOTES = ("_CHECKPOINT_METADATA", "state/_METADATA", "state/_sharding", "metrics/metrics")
"""Orbax's files beside the arrays, all of them JSON."""


def write(folder: Path) -> None:
    """Note the digests of a checkpoint that is whole."""
    disk.write_json(folder / FILE, {"files": _of_files(folder), "arrays": _of_arrays(folder)})


def check(folder: Path, parts: Collection[str]) -> None:
    """Hold the notes and the arrays of these parts of the state against their digests.

    ``parts`` are names such as ``params``. Raises ValueError that names the first array or file
    that differs.
    """
    path = folder / FILE
    if not path.is_file():
        return
    kept = json.loads(path.read_text())
    arrays = _of_arrays(folder, parts)
    noted = {name: x for name, x in kept["arrays"].items() if _part(name) in parts}
    for before, now in ((kept["files"], _of_files(folder)), (noted, arrays)):
        for name in [*before, *now]:
            if before.get(name) != now.get(name):
                raise ValueError(f"{name} is not what was saved: its digest differs")


def store_of(folder: Path) -> ts.KvStore:
    """The store of a checkpoint's arrays, by ``part.of.the.path/chunk``."""
    base = (folder / "state").absolute().as_uri() + "/"
    return ts.KvStore.open({"driver": "ocdbt", "base": base}).result()


def notes_of(folder: Path) -> Iterator[Path]:
    """Orbax's own files in a checkpoint."""
    arrays = sorted((folder / "state" / "array_metadatas").glob("*"))
    return (path for path in (*(folder / note for note in NOTES), *arrays) if path.is_file())


def _of_files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in notes_of(folder)
    }


def _of_arrays(folder: Path, parts: Collection[str] | None = None) -> dict[str, str]:
    store = store_of(folder)
    chunks: dict[str, list[bytes]] = {}
    for key in sorted(store.list().result()):
        name = key.decode().partition("/")[0]
        if parts is None or _part(name) in parts:
            chunks.setdefault(name, []).append(key)

    def digest(keys: list[bytes]) -> str:
        found = hashlib.sha256()
        for key in keys:
            found.update(key)
            found.update(store.read(key).result().value)
        return found.hexdigest()

    with ThreadPoolExecutor() as pool:  # hashing and reading let go of the interpreter's lock
        return dict(zip(chunks, pool.map(digest, chunks.values()), strict=True))


def _part(array: str) -> str:
    return array.partition(".")[0]
