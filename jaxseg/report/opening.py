"""What a run says before its first step."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jaxseg.data import ClassShares


def say(line: str) -> None:
    """Print a line as `Report.message` does, of a run that has no report yet."""
    Console(soft_wrap=True).print(line, markup=False, highlight=False)


def opening_lines(
    mesh: Mesh,
    cases: Mapping[str, int],
    shares: ClassShares | None,
    class_names: Sequence[str],
    parameters: int,
) -> list[str]:
    """The lines that are known before the step is compiled; ``cases`` by split."""
    devices = mesh.devices.flat
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    lines = [
        aligned("devices", f"{mesh.devices.size} x {devices[0].device_kind}, mesh {axes}"),
        aligned("cases", ", ".join(f"{split} {count}" for split, count in cases.items())),
    ]
    if shares is not None:
        lines.append(aligned("pixels", shares.line(class_names)))
        lines += filter(None, [shares.unseen(class_names)])
    return [*lines, aligned("parameters", f"{parameters:,}")]


def compiled_lines(step: Any, seconds: float) -> list[str]:
    """The lines about a compiled step; of memory only where the platform tells."""
    lines = [aligned("compiled", f"in {seconds:.1f} s")]
    asked, there = memory_of(step), capacity()
    if asked:
        of = f" of {_bytes(there)}" if there else ""
        lines.append(aligned("memory", f"{_bytes(asked)}{of} a device for one step"))
    return lines


def aligned(name: str, text: str) -> str:
    """A line of the two columns."""
    return f"{name:<12}{text}"


def memory_of(step: Any) -> int:
    """Bytes a device that the compiler asks for: arguments, results, all in between; 0: unknown."""
    found = None
    with contextlib.suppress(Exception):  # a platform may lack it, or say so in its own way
        found = step.memory_analysis()
    if found is None:
        return 0
    own = found.output_size_in_bytes - found.alias_size_in_bytes
    return found.argument_size_in_bytes + own + found.temp_size_in_bytes


def capacity() -> int:
    """Bytes that a device may use; 0 where it does not say."""
    with contextlib.suppress(Exception):
        return int((jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 0))
    return 0


class Clock:
    """Seconds of a block, once it has ended."""

    seconds: float = math.nan


@contextlib.contextmanager
def clock(what: str, *, shown: bool = True) -> Iterator[Clock]:
    """Measures the block; on a terminal, ``what`` and a clock stand there while it runs."""
    found, begun = Clock(), time.perf_counter()
    console = Console()
    moving = contextlib.nullcontext()
    if shown and console.is_terminal:
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        moving = Progress(*columns, console=console, transient=True)
        moving.add_task(what, total=None)
    with moving:
        yield found
    found.seconds = time.perf_counter() - begun


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
