"""Which form of an operation is fast on this device, and how fast is PyTorch?

    python -m benchmarks.layers [--torch PYTHON] [--preset cpu|gpu|smoke] [--only depthwise_3x3 ...]
        [--forms naive chosen cpu default] [--precisions float32 tf32 bfloat16]

Each operation forward, and forward with backward, in the forms asked for: ``naive`` is what one
would write with jax.lax, jax.image or flax; ``chosen`` is jaxseg.layers as it lowers here; ``cpu``
and ``default`` force the choice that layers would make on a CPU and on what they do not know (so
on a GPU, ``cpu`` shows whether the CPU's fast form would be the better one there too). ``--torch``
adds PyTorch, eager and channels last, in a process of its own. Forms must agree before they are
timed, and run turn by turn; ratios are medians over rounds of ratios within a round.
"""

import contextlib
import tempfile
import time
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.operations import OPERATIONS, Apply, Operation
from benchmarks.timing import Worker
from jaxseg import process
from jaxseg.errors import first_line
from jaxseg.layers import Norm

QUESTION = "time of an operation by form"
TASKS = ("forward", "gradient")
FORMS = ("naive", "chosen", "cpu", "default")
TOLERANCE = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 1e-1}
"""Largest difference between forms, in standard deviations of the naive one."""

BATCH = {"cpu": {2: 1, 3: 1}, "gpu": {2: 32, 3: 8}, "smoke": {2: 1, 3: 1}}


@contextlib.contextmanager
def lowered_as(form: str) -> Iterator[None]:
    """Layers traced here make the choice of ``cpu``, or of an unknown platform."""
    if form not in ("cpu", "default"):
        yield
        return

    def choose(*arguments, default=None, **branches):
        branch = branches.get("cpu", default) if form == "cpu" else default
        assert branch is not None, "a platform choice without a default"
        return branch(*arguments)

    jax.clear_caches()  # a trace of before would be found again
    with unittest.mock.patch.object(jax.lax, "platform_dependent", choose):
        yield
    jax.clear_caches()


def prepare(operation: Operation, size: tuple[int, ...], folder: Path) -> tuple[Any, dict]:
    """Weights and data, also written to ``folder``; the cotangent has the output's shape."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((*size, operation.channels), dtype=np.float32)
    variables: Any = {}
    if operation.module is not None:
        how: Any = {"train": True} if isinstance(operation.module, Norm) else {}
        variables = operation.module.init(jax.random.key(0), jnp.asarray(image), **how)
        variables = jax.tree.map(np.asarray, variables)
    output = jax.eval_shape(operation.naive, variables, jnp.asarray(image))
    cotangent = rng.standard_normal(output.shape, dtype=np.float32)
    data = {"image": image, "cotangent": cotangent}
    timing.store(folder, variables, data)
    return variables, data


def build(apply: Apply, form: str, task: str, variables, data, precision: str) -> Callable:
    """The compiled task as a call; what it gives first is compared with the other forms."""
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    x, cotangent = (jnp.asarray(data[key], dtype) for key in ("image", "cotangent"))
    variables = jax.tree.map(jnp.asarray, variables)
    params = variables.get("params", {})

    def gradient(variables, x, cotangent):
        y, back = jax.vjp(lambda p, x: apply(variables | {"params": p}, x), params, x)
        # y is given back as well: PyTorch cannot leave its forward pass out either.
        return back(cotangent)[::-1], y

    function = apply if task == "forward" else gradient
    arguments = (variables, x) if task == "forward" else (variables, x, cotangent)
    with jax.default_matmul_precision("highest" if precision == "float32" else None):
        with lowered_as(form):
            compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: compiled(*arguments)


def measure(
    operation: Operation, task: str, precision: str, worker: Worker | None, options
) -> dict[str, Any]:
    """One row: seconds of each form and of PyTorch, and ratios."""
    size = shape_of(operation, options)
    row: dict[str, Any] = {"task": task, "size": [*size, operation.channels]}
    row["precision"] = precision
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables, data = prepare(operation, size, folder)
        turns, reference = {}, None
        for form in options.forms:
            apply = operation.naive if form == "naive" else operation.chosen
            run = build(apply, form, task, variables, data, precision)
            made = np.asarray(jax.tree.leaves(run())[0], np.float32)
            reference = made if reference is None else reference
            agree(row, form, made, reference, precision)
            turns[form] = timing.turn(run)
        if worker is not None and reference is not None:
            made = in_torch(worker, operation, task, precision, folder)
            agree(row, "torch", made, reference, precision)
            turns["torch"] = worker.turn("torch")
    times = timing.alternate(turns, rounds=options.rounds, seconds=options.seconds)
    if worker is not None:
        worker.ask(do="forget")
    for form, found in times.items():
        row |= timing.seconds(found, f"{form}_")
        for base in ("torch", "naive"):
            if base in times and form not in ("torch", base):
                key = f"{form}_over_{base}"
                ratio = timing.ratios(found, times[base])
                row[key], row[f"{key}_quartiles"] = ratio["ratio"], ratio["ratio_quartiles"]
    return row


def in_torch(worker: Worker, operation: Operation, task: str, precision: str, folder: Path):
    """Has the other side build it, under the key ``torch``; what it gives."""
    worker.ask(
        do="make",
        key="torch",
        task=task,
        network=operation.network,
        fields=dict(operation.fields),
        weights=str(folder / "weights.npz"),
        data=str(folder / "data.npz"),
        output=str(folder / "output.npy"),
        precision=precision,
        mode="eager",
        layout="channels_last",
    )
    return np.load(folder / "output.npy")


def shape_of(operation: Operation, options) -> tuple[int, ...]:
    """Batch and size at the preset."""
    rank = len(operation.size)
    batch = options.batch or BATCH[options.preset][rank]
    size = tuple(max(n // 16, 4) for n in operation.size)
    return (batch, *(size if options.preset == "smoke" else operation.size))


def agree(row: dict[str, Any], form: str, made, reference, precision: str) -> None:
    """Notes how far a form is from the first one; RuntimeError where it computes something else."""
    if made.shape != reference.shape:
        raise RuntimeError(f"{form} gives {made.shape}, the naive form {reference.shape}")
    difference = float(np.abs(made - reference).max() / reference.std())
    row["difference"] = max(row.get("difference", 0.0), timing.rounded(difference, 2))
    if not difference <= TOLERANCE[precision]:
        raise RuntimeError(f"{form} differs from the naive form by {difference:.2g} std")


def main(arguments: list[str] | None = None, worker: Any = None) -> list[dict[str, Any]]:
    parser = timing.parser("layers", __doc__)
    parser.add_argument("--torch", nargs="?", const="python3", help="a Python that has torch")
    parser.add_argument("--preset", choices=list(BATCH), default="cpu")
    parser.add_argument("--only", nargs="*", choices=list(OPERATIONS), default=list(OPERATIONS))
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--forms", nargs="*", choices=FORMS, default=["naive", "chosen"])
    parser.add_argument("--precisions", nargs="*", choices=list(TOLERANCE), default=["float32"])
    parser.add_argument("--batch", type=int, help="instead of the preset's")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="least length of a turn")
    parser.add_argument("--budget", type=float, default=3600.0, help="no operation starts after it")
    options = parser.parse_args(arguments)
    process.cache_compilations()
    if options.torch and worker is None:
        worker = Worker(options.torch)
    versions = {} if worker is None else worker.versions
    rows, end = [], time.monotonic() + options.budget
    for name in options.only:
        if time.monotonic() > end:
            reason = f"not run: {options.budget:.0f} s are up"
            rows.append(timing.line(QUESTION, {"operation": name, "error": reason}))
            continue
        for precision in options.precisions:
            for task in options.tasks:
                rows.append(row_of(name, task, precision, worker, options, versions))
    if worker is not None:
        worker.close()
    print("\n" + timing.table(rows, columns(options, worker is not None)))
    return rows


def row_of(name, task, precision, worker, options, versions) -> dict[str, Any]:
    """A printed row; what fails is one, too."""
    try:
        row = measure(OPERATIONS[name], task, precision, worker, options)
    except Exception as error:  # out of memory, a form that cannot be lowered here, ...
        reason = f"{type(error).__name__}: {first_line(error)}"
        row = {"task": task, "precision": precision, "error": reason}
    return timing.line(QUESTION, {"operation": name, **row, **versions})


def columns(options, torch: bool) -> dict[str, str]:
    """The columns of the table."""
    found = {"operation": "operation", "task": "task", "size": "size"}
    if len(options.precisions) > 1:
        found["precision"] = "precision"
    over = "torch" if torch else "naive"
    if torch:
        found["torch_seconds"] = "PyTorch (s)"
    found |= {f"{form}_seconds": f"{form} (s)" for form in options.forms}
    found |= {f"{form}_over_{over}": f"{form} / {over}" for form in options.forms if form != over}
    return found


if __name__ == "__main__":
    main()
