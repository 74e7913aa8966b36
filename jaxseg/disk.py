"""What commands leave on the disk: files that are whole or absent."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

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
