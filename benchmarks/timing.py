"""Timed runs in alternation, and how every benchmark writes down what it found.

Machines are noisy and neighbours come and go, so two ways of doing a thing are timed turn by turn,
and what counts is the median over rounds of the ratio within a round; quartiles show the spread.
"""

import argparse
import contextlib
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from jaxseg.disk import plain
from jaxseg.report import environment

Turn = Callable[[int], float]
"""Runs something so many times; seconds a run."""


def turn(run: Callable[[], Any]) -> Turn:
    """Times ``run``, which returns arrays of JAX that depend on all of its work."""

    def timed(calls: int) -> float:
        begun = time.perf_counter()
        for _ in range(calls):
            made = run()
            if jax.default_backend() == "cpu":
                # Else XLA:CPU works at several calls at once, which no loop of training can.
                jax.block_until_ready(made)
        jax.block_until_ready(made)
        return (time.perf_counter() - begun) / calls

    return timed


def alternate(
    turns: Mapping[str, Turn], *, rounds: int, seconds: float = 0.5, calls: int | None = None
) -> dict[str, list[float]]:
    """Seconds a call of each, a number a round; every other round goes the other way round.

    A turn takes about ``seconds`` (one call at least), or makes ``calls`` calls.
    """
    names = list(turns)
    counts = {}
    for name in names:  # the second call: the first may still compile or plan
        turns[name](1)
        once = turns[name](1)
        counts[name] = calls or max(1, min(1000, round(seconds / max(once, 1e-6))))
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(turns[name](counts[name]))
    return found


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """``ratio``, the median over rounds of ours / theirs, and the quartiles."""
    of_rounds = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"ratio": rounded(statistics.median(of_rounds)), "ratio_quartiles": quartiles(of_rounds)}


def seconds(of_rounds: Sequence[float], prefix: str = "") -> dict[str, Any]:
    """Median and quartiles of seconds."""
    return {
        f"{prefix}seconds": rounded(statistics.median(of_rounds)),
        f"{prefix}seconds_quartiles": quartiles(of_rounds),
    }


def quartiles(values: Sequence[float]) -> list[float]:
    """The first and third quartiles."""
    if len(values) < 2:
        return [rounded(values[0])] * 2
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [rounded(first), rounded(third)]


def rounded(value: float, digits: int = 4) -> float:
    """The value rounded to so many significant digits."""
    if not value or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


# --- compiled programs ----------------------------------------------------------------------------


def peak(memory: Any) -> int:
    """Bytes on the device while a compiled program runs."""
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


def compile_twice(function: Any, arguments: tuple) -> tuple[float, float, Any]:
    """Seconds to trace, lower and compile: cold, then from the persistent cache; the program."""
    with tempfile.TemporaryDirectory() as folder, caching_in(folder):
        begun = time.perf_counter()
        compiled = function.lower(*arguments).compile()
        cold = time.perf_counter() - begun
        jax.clear_caches()
        begun = time.perf_counter()
        function.lower(*arguments).compile()
        return cold, time.perf_counter() - begun, compiled


@contextlib.contextmanager
def caching_in(folder: str) -> Iterator[None]:
    """Keeps compiled programs in ``folder``, however small."""
    new = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    old = {name: getattr(jax.config, name) for name in new}
    for values in (new, old):
        compilation_cache.reset_cache()  # it remembers its folder
        for name, value in values.items():
            jax.config.update(name, value)
        if values is new:
            yield


# --- what is written ------------------------------------------------------------------------------


def line(
    question: str, case: Mapping[str, Any], where: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Prints the case as a line of JSON with ``where`` it was found; None: `provenance`, here."""
    written = plain({"question": question, **case, **(provenance() if where is None else where)})
    print(json.dumps(written), flush=True)
    return written


def provenance() -> dict[str, Any]:
    """Device, versions, commit, command, and how busy the machine was."""
    return {
        **environment(),
        "cores": cores(),
        "load": round(os.getloadavg()[0], 1),
        "commit": commit(),
        "command": command(),
    }


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit() -> str:
    """The tree's commit, ``-dirty`` where it differs; COMMIT where the tree is a mere copy."""
    if "COMMIT" in os.environ:
        return os.environ["COMMIT"]
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return found.stdout.strip()


def command() -> str:
    """How this benchmark was called, without the folders of this machine."""
    name = Path(sys.argv[0]).stem
    arguments = [Path(a).name if a.startswith("/") else a for a in sys.argv[1:]]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *arguments])


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m benchmarks.<name>``, whose help is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A Markdown table: ``columns`` maps row keys to titles; ``error`` fills the last column."""
    lines = [
        "| " + " | ".join(columns.values()) + " |",
        "|---" + "|--:" * (len(columns) - 1) + "|",
    ]
    for row in rows:
        cells = [_cell(row.get(key)) for key in columns]
        if row.get("error"):
            cells[-1] = str(row["error"])[:80].replace("|", "/")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        ranges = any(isinstance(item, float) for item in value)  # quartiles, and not a size
        return (" to " if ranges else " x ").join(_cell(item) for item in value)
    return f"{rounded(value, 3):g}" if isinstance(value, float) else str(value)


# --- the other process ----------------------------------------------------------------------------


class Worker:
    """A process that builds and times things in another framework, and waits in between."""

    def __init__(self, python: str, module: str = "benchmarks.torch_worker") -> None:
        """Starts it; OSError where ``python`` is none."""
        self._process = subprocess.Popen(
            [python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        self.versions = self._read()

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to one request; RuntimeError with the other side's reason where it failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def turn(self, key: str) -> Turn:
        """The turn of what was built under ``key``."""
        return lambda calls: self.ask(do="run", key=key, calls=calls)["seconds"]

    def close(self) -> None:
        """Ends it; what it built is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker ended with code {self._process.wait()}")
        found = json.loads(answer)
        if "error" in found:
            raise RuntimeError(found["error"])
        return found


def store(folder: Path, variables: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """What a worker builds from: weights.npz, an array a path such as ``params/a/b``; data.npz."""
    flat = flax.traverse_util.flatten_dict(dict(variables), sep="/")
    np.savez(
        folder / "weights.npz", allow_pickle=False, **{k: np.asarray(v) for k, v in flat.items()}
    )
    np.savez(folder / "data.npz", allow_pickle=False, **data)
