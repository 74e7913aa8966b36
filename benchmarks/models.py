"""What does each network cost on this device?

    python -m benchmarks.models [--preset cpu|gpu|smoke] [--only unet unet_resnet34 ...]
        [--dtype float32|bfloat16] [--batch N] [--budget SECONDS] [--plot models.png]

A row a network, in a process of its own, so that running out of memory is a row and not an end:
parameters; GMACs of one image (``jaxseg.cost``: torchvision's and fvcore's convention) and XLA's
own count; peak memory of inference and of the training step, as the compiled programs state it
(arguments + outputs + temporaries - what is donated); seconds to compile, cold and from the
persistent cache; images a second, median of the repeats and quartiles. The step is that of
``Supervised`` with its defaults.

Model FLOP/s are 2 x MACs x images/s for inference and three times that for training (the backward
pass costs two forward passes; recomputation does not count); their share of the fastest matmul
**measured here** in the same dtype is the utilisation. On GPUs, float32 is JAX's default: TF32.
"""

import argparse
import functools
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.networks import ROWS, Row
from jaxseg import cost, process
from jaxseg.errors import first_line
from jaxseg.models import create
from jaxseg.recipes import Supervised
from jaxseg.types import Batch, output_size

QUESTION = "cost of a network"
CEILING = "ceiling"
PASSES = {"inference": 1, "training": 3}
"""Forward passes that a task counts as."""

SIDES = {"cpu": (1024, 2048, 3072), "gpu": (4096, 8192, 16384), "smoke": (64,)}
"""Sides of the square matrices whose product is timed."""


# --- in the process of one network ----------------------------------------------------------------


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The row, as far as it goes; what stopped it is its ``error``."""
    if name == CEILING:
        how = options.preset, options.dtype, options.repeats, options.seconds
        return {"network": CEILING, "dtype": options.dtype, **ceiling(*how)}
    row = ROWS[name]
    size = getattr(row, options.preset)
    size = size if options.batch is None else (options.batch, *size[1:])
    found: dict[str, Any] = {"network": name, "size": list(size), "dtype": options.dtype}
    try:
        model = create(row.model, num_classes=row.classes, **row.fields)
        found |= counted(model, (1, *size[1:], row.channels))
        recipe = Supervised(model, dtype=options.dtype, schedule_steps=1000)
        batch = random_batch(model, size, row)
        for task, build in (("inference", inference), ("training", training)):
            found |= timed(task, *build(recipe, batch), options, size[0])
    except Exception as error:  # out of memory, a size that does not fit, ...
        found["error"] = f"{type(error).__name__}: {first_line(error)}"
    return found


def counted(model: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Parameters and GMACs of one image, traced only."""
    return cost.counted(model, jax.ShapeDtypeStruct(shape, jnp.float32))


def random_batch(model: Any, size: tuple[int, ...], row: Row) -> Batch:
    """A random batch on the device."""
    rng = np.random.default_rng(0)
    output_size(model, size[1:])  # refuses what does not fit
    image = rng.standard_normal((*size, row.channels), dtype=np.float32)
    label = rng.integers(0, row.classes, size, dtype=np.int32)
    return jax.tree.map(jnp.asarray, Batch(image, label, np.ones(size[0], bool)))


def inference(recipe: Supervised, batch: Batch) -> tuple[Any, tuple, Callable]:
    """The jitted forward pass, its arguments, and how to call what was compiled of it."""
    model = recipe.served
    init = jax.jit(functools.partial(model.init, train=False))
    variables = init(jax.random.key(0), batch.image[:1])

    def logits(variables: Any, image: jax.Array) -> jax.Array:
        prediction: Any = model.apply(variables, image, train=False)
        return prediction.logits

    forward = jax.jit(logits)
    arguments = variables, batch.image

    def calls(compiled: Any) -> Callable[[], Any]:
        return lambda: compiled(*arguments)

    return forward, arguments, calls


def training(recipe: Supervised, batch: Batch) -> tuple[Any, tuple, Callable]:
    """The jitted training step, its arguments, and its calls; each goes on from the one before."""
    state = jax.jit(recipe.init)(jax.random.key(0), batch)
    step = jax.jit(recipe.step, donate_argnums=0, compiler_options=process.compiler_options())

    def calls(compiled: Any) -> Callable[[], Any]:
        held = [state]

        def run() -> Any:
            held[0], scalars = compiled(held[0], batch)
            return scalars

        return run

    return step, (state, batch), calls


def timed(task: str, function, arguments, calls, options, batch: int) -> dict[str, Any]:
    """Compiles a task twice, cold and from a cache, and times it."""
    cold, again, compiled = timing.compile_twice(function, arguments)
    memory, flops = compiled.memory_analysis(), compiled.cost_analysis()
    found = {
        f"{task}_compile_seconds": timing.rounded(cold),
        f"{task}_compile_seconds_cached": timing.rounded(again),
        f"{task}_peak_gib": None if memory is None else timing.rounded(timing.peak(memory) / 2**30),
        f"{task}_xla_gflops": timing.rounded(float((flops or {}).get("flops", math.nan)) / 1e9),
    }
    turn = timing.turn(calls(compiled))
    times = timing.alternate({task: turn}, rounds=options.repeats, seconds=options.seconds)[task]
    found |= timing.seconds(times, f"{task}_")
    median = found[f"{task}_seconds"]
    found[f"{task}_images_per_second"] = timing.rounded(batch / median)
    found[f"{task}_repeats"] = len(times)
    return found


def ceiling(preset: str, dtype: str, repeats: int = 10, seconds: float = 0.2) -> dict[str, Any]:
    """FLOP/s of the fastest of some square matmuls of random numbers."""
    best: dict[str, Any] = {"flops": 0.0}
    for side in SIDES[preset]:
        a, b = jax.random.normal(jax.random.key(0), (2, side, side), jnp.dtype(dtype))
        turn = timing.turn(functools.partial(jax.jit(jnp.dot), a, b))
        times = timing.alternate({"dot": turn}, rounds=repeats, seconds=seconds)
        flops = 2 * side**3 / timing.seconds(times["dot"])["seconds"]
        if flops > best["flops"]:
            best = {"flops": timing.rounded(flops), "side": side}
    return best


# --- in the process that starts the others --------------------------------------------------------


def spawned(name: str, arguments: list[str], seconds: float) -> dict[str, Any]:
    """What a process of its own finds of one network."""
    command = [sys.executable, "-m", "benchmarks.models", *arguments, "--one", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds,
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"network": name, "error": f"not done within {seconds:.0f} s"}
    lines = [text for text in done.stdout.splitlines() if text.startswith("{")]
    if lines:
        return json.loads(lines[-1])
    said = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1][:200]
    how = "killed: out of memory?" if done.returncode == -9 else f"code {done.returncode}"
    return {"network": name, "error": f"{how}: {said}"}


def collect(names: list[str], arguments: list[str], options, run=spawned) -> list[dict[str, Any]]:
    """Every row, printed as it comes; those that the budget leaves no time for say so."""
    end = time.monotonic() + options.budget
    first = run(CEILING, arguments, options.limit)
    own = ("network", "dtype", "flops", "side", "error")
    where = {key: value for key, value in first.items() if key not in (*own, "question")}
    where |= {"command": timing.command()}
    rows = [timing.line(QUESTION, {key: first[key] for key in own if key in first}, where)]
    for name in names:
        left = end - time.monotonic()
        if left > 0:
            row = run(name, arguments, min(left, options.limit))
        else:
            row = {"network": name, "error": f"not run: the budget of {options.budget:.0f} s is up"}
        row = {key: value for key, value in row.items() if key != "question"}
        row |= utilisation(row, first.get("flops"))
        now = {key: row.pop(key, value) for key, value in where.items()}  # its own load, and so on
        rows.append(timing.line(QUESTION, row, now | {"command": where["command"]}))
    return rows


def utilisation(row: dict[str, Any], flops: float | None) -> dict[str, Any]:
    """Model FLOP/s of both tasks, and their share of the ceiling."""
    found = {}
    for task, passes in PASSES.items():
        images = row.get(f"{task}_images_per_second")
        if images is not None:
            achieved = 2 * passes * row["macs"] * images
            found[f"{task}_tflops"] = timing.rounded(achieved / 1e12)
            found[f"{task}_mfu"] = timing.rounded(achieved / flops, 3) if flops else None
    return found


COLUMNS = {
    "network": "network",
    "size": "batch x size",
    "parameters_m": "parameters (M)",
    "gmacs": "GMACs/image",
    "inference_images_per_second": "inference (images/s)",
    "inference_mfu": "MFU",
    "inference_peak_gib": "peak (GiB)",
    "training_images_per_second": "training (images/s)",
    "training_mfu": "MFU ",
    "training_peak_gib": "peak (GiB) ",
    "training_compile_seconds": "compile (s)",
    "training_compile_seconds_cached": "cached (s)",
}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    shown = []
    for row in rows[1:]:
        extra = {}
        if "macs" in row:
            extra = {"parameters_m": row["parameters"] / 1e6, "gmacs": row["macs"] / 1e9}
        shown.append({**row, **extra})
    flops = rows[0].get("flops") or math.nan
    head = f"{rows[0].get('dtype', '')} matmul ceiling: {flops / 1e12:.3g} TFLOP/s"
    return f"{head}\n\n{timing.table(shown, COLUMNS)}"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """GMACs of an image against images a second, both tasks, as a PNG."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for task, marker in (("inference", "o"), ("training", "s")):
        done = [row for row in rows if row.get(f"{task}_images_per_second")]
        x = [row["macs"] / 1e9 for row in done]
        y = [row[f"{task}_images_per_second"] for row in done]
        axes.scatter(x, y, marker=marker, label=task)
        for row, at in zip(done, zip(x, y, strict=True), strict=True):
            axes.annotate(row["network"], at, fontsize=7, xytext=(3, 3), textcoords="offset points")
        if done:  # nothing at all cannot be drawn on a logarithmic axis
            axes.set(xscale="log", yscale="log")
    axes.set(xlabel="GMACs an image", ylabel="images a second")
    axes.set_title(f"{rows[0].get('device', '')}, {rows[0].get('dtype', '')}")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None, run=spawned) -> list[dict[str, Any]]:
    parser = timing.parser("models", __doc__)
    parser.add_argument("--preset", choices=("cpu", "gpu", "smoke"), default="cpu")
    parser.add_argument("--only", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, help="instead of the preset's")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.2, help="least length of a repeat")
    parser.add_argument("--budget", type=float, default=3600.0, help="seconds for all networks")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one")
    parser.add_argument("--plot", type=Path, help="PNG to write")
    parser.add_argument("--one", choices=(CEILING, *ROWS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        return [timing.line(QUESTION, measured(options.one, options))]
    names = ("preset", "dtype", "batch", "repeats", "seconds")
    given = {f"--{n}": getattr(options, n) for n in names if getattr(options, n) is not None}
    passed = [str(part) for pair in given.items() for part in pair]
    rows = collect(options.only, passed, options, run)
    print("\n" + table(rows))
    if options.plot:
        plot(rows, options.plot)
    return rows


if __name__ == "__main__":
    main()
