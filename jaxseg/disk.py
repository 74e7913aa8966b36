"""What commands leave on the disk: files that are whole or absent."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A neighbour of ``path`` to write to, of the same suffix; takes its place when all went well.

    On an error nothing is left of it and an older ``path`` stays as it was. A full disk, a missing
    permission and the like raise UserError, naming ``path``.
    """
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise UserError(f"{path}: could not be written ({why})") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()  # absent after the rename


def folder(path: Path) -> None:
    """Make a folder that may exist already; UserError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the folder could not be made ({error.strerror})") from error


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically; arrays become lists, and NaN and infinities null.

    Raises UserError that names the file where it cannot be written (the old one is kept then).
    """
    with replacing(Path(path)) as beside:
        beside.write_text(json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """The value in what strict JSON knows; NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
