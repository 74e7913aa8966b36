"""The files that programs read: JSON written whole or not at all, and metrics.jsonl."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import jax

import jaxseg
from jaxseg import disk
from jaxseg.disk import plain
from jaxseg.errors import UserError


def environment() -> dict[str, Any]:
    """`device`, such as "8 x NVIDIA H200", and the `versions` of what computes."""
    devices = jax.devices()
    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    versions = {"jaxseg": jaxseg.__version__, "python": platform.python_version()}
    return {
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "versions": versions | {name: importlib.metadata.version(name) for name in names},
    }


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, oldest first; a line that a crash tore is left out."""
    path, lines = Path(path), []
    if path.is_file():
        for text in path.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                lines.append(line)
    return lines


class Metrics:
    """Appends to metrics.jsonl, a line at a time.

    Lines later than `resume_step` are dropped when it opens: the run is about to write them again.
    """

    def __init__(self, path: Path, resume_step: int) -> None:
        """Opens the file, and makes it where it is missing."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_metrics(path) if line["step"] <= resume_step]
        with disk.replacing(path) as beside:
            beside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file: IO[str] = path.open("a", buffering=1)

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Write one line; it reaches the file at once."""
        line = json.dumps(plain({"step": step, **scalars}), allow_nan=False)
        try:
            self._file.write(line + "\n")
        except OSError as error:
            raise UserError(f"{self._path}: could not be written ({error.strerror})") from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
