"""Is a network faster here or in PyTorch?

    python -m benchmarks.against_torch --torch-python PYTHON [--preset cpu|gpu|smoke]
        [--only unet16 ...] [--precisions float32 tf32 bfloat16] [--modes eager compile ...]

The same network, weights and input on both sides, PyTorch in a process of its own (``PYTHON`` is
one that has it; networks of peers want torchvision and segmentation-models-pytorch beside it).
Outputs are compared in float32, on small images, before anything is timed: a network that differs
by over 1e-3 of its output's standard deviation is a row that says so. So are, by looser bounds,
outputs of the images and in the precision that are timed, and the loss of the first training step
(relative). Then both sides run turn by turn; a training step is forward, loss, backward and a step
of plain SGD. Ratio: our time over theirs, the median over rounds; below 1 we are faster.

``float32`` forbids TF32 on both sides, ``tf32`` allows it, ``bfloat16`` is autocast there and
``dtype="bfloat16"`` here: float32 parameters on both sides.
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.models import PASSES, ceiling, counted
from benchmarks.networks import CASES, PEER, Case
from benchmarks.timing import Turn, Worker
from jaxseg import convert, process
from jaxseg.errors import UserError, first_line
from jaxseg.losses import CrossEntropy

QUESTION = "time over PyTorch's"
TOLERANCE = {"float32": 1e-3, "tf32": 3e-2, "bfloat16": 0.3}
"""Largest difference of outputs in their standard deviations. The last two only catch blunders."""

RATE = 1e-3
MODES = ("eager", "compile", "eager_contiguous", "compile_contiguous")


class Ours:
    """A network of jaxseg at one precision, on data that lie on the device."""

    def __init__(self, case: Case, variables: Any, data: Mapping[str, np.ndarray], precision: str):
        dtype = "bfloat16" if precision == "bfloat16" else "float32"
        self._model = case.model.clone(dtype=dtype) if hasattr(case.model, "dtype") else case.model
        self._cast = dtype
        self._precision = "highest" if precision == "float32" else None
        self._variables = jax.tree.map(jnp.asarray, variables)
        self._image = jnp.asarray(data["image"])
        self._label = jnp.asarray(data["label"]) if "label" in data else None

    def inference(self) -> tuple[Callable[[], jax.Array], float]:
        """The forward pass as a call, compiled, and the seconds that took."""

        def forward(variables, image):
            return self._apply(variables, image, train=False)[0]

        with self._exactly():
            begun = time.perf_counter()
            compiled = jax.jit(forward).lower(self._variables, self._image).compile()
        seconds = time.perf_counter() - begun
        return lambda: compiled(self._variables, self._image), seconds

    def training(self) -> tuple[Callable[[], jax.Array], float]:
        """The step as a call that gives the loss; each call goes on from the one before."""

        def loss_of(params, stats, image, label):
            variables = {"params": params, "batch_stats": stats}
            y, stats = self._apply(variables, image, train=True)
            return self._loss(y, label), stats

        def step(state, image, label):
            params, stats = state
            differentiate = jax.value_and_grad(loss_of, has_aux=True)
            (loss, stats), grads = differentiate(params, stats, image, label)
            params = jax.tree.map(lambda p, g: p - RATE * g, params, grads)
            return (params, stats), loss

        state = self._variables["params"], self._variables.get("batch_stats", {})
        state = jax.tree.map(jnp.copy, state)  # it is donated, and the variables are used again
        arguments = state, self._image, self._label
        with self._exactly():
            begun = time.perf_counter()
            options = process.compiler_options()  # as jaxseg.train does
            jitted = jax.jit(step, donate_argnums=0, compiler_options=options)
            compiled = jitted.lower(*arguments).compile()
        seconds = time.perf_counter() - begun
        held = [state]

        def run() -> jax.Array:
            held[0], loss = compiled(held[0], self._image, self._label)
            return loss

        return run, seconds

    def _apply(self, variables, image, *, train: bool) -> tuple[jax.Array, Any]:
        image = image.astype(self._cast)
        if not train:
            y: Any = self._model.apply(variables, image, train=False)
            return getattr(y, "logits", y), {}
        y, updated = self._model.apply(variables, image, train=True, mutable=["batch_stats"])
        return getattr(y, "logits", y), updated.get("batch_stats", {})

    def _loss(self, y, label):
        y = y.astype(jnp.float32)
        if label is None:
            return jnp.square(y).mean()
        return CrossEntropy()(y, label).mean()

    def _exactly(self):
        return jax.default_matmul_precision(self._precision)


def prepare(
    case: Case, size: tuple[int, ...], folder: Path, worker: Worker
) -> tuple[Any, dict[str, Any]]:
    """Random weights and data; both also written to ``folder`` for the other side."""
    rng = np.random.default_rng(0)
    data: dict[str, Any] = {"image": rng.standard_normal((*size, case.channels), dtype=np.float32)}
    if "classes" in case.fields:
        data["label"] = rng.integers(0, case.fields["classes"], size)
    shape = jnp.zeros((1, *data["image"].shape[1:]))
    init = jax.jit(functools.partial(case.model.init, train=False))
    variables = jax.tree.map(np.asarray, init(jax.random.key(0), shape))
    timing.store(
        folder, variables if case.network != PEER else theirs(case, variables, worker), data
    )
    return variables, data


def theirs(case: Case, variables: Any, worker: Worker) -> dict[str, np.ndarray]:
    """The weights under the keys and in the layouts of a peer's library."""
    names = convert.names_of(case.model, case.fields["library"])
    flat: dict[Any, Any] = flax.traverse_util.flatten_dict(jax.tree.map(np.asarray, variables))
    keys = worker.ask(do="keys", network=case.network, fields=dict(case.fields))["keys"]
    return {
        key: np.ascontiguousarray(
            convert.laid_back(flat.pop(convert.place(key, shape, names)), key, names)
        )
        for key, shape in keys
    }


def rows_of(name: str, worker: Worker, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of one network: precisions x tasks x modes; none is timed if float32 differs."""
    case = CASES[name]
    size = case.sizes[options.preset]
    size = size if options.batch is None else (options.batch, *size[1:])
    macs = counted(case.model, (1, *size[1:], case.channels))["macs"]
    common = {"network": name, "size": list(size), "macs": macs}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            common["float32_difference"] = agree(case, worker, folder)
            variables, data = prepare(case, size, folder, worker)
        except Exception as error:  # out of memory, different outputs, ...
            yield {**common, "error": f"{type(error).__name__}: {first_line(error)}"}
            return
        for precision in options.precisions:
            ours = Ours(case, variables, data, precision)
            for task in case.tasks if options.tasks is None else options.tasks:
                found = compare(case, ours, task, precision, worker, folder, options)
                yield from ({**common, "task": task, "precision": precision, **f} for f in found)
                worker.ask(do="forget")


def agree(case: Case, worker: Worker, folder: Path) -> float:
    """Difference of the outputs in float32; UserError where the networks are not the same.

    Of small images: to find float32's best algorithms for large ones takes a GPU minutes.
    """
    ours = Ours(case, *prepare(case, case.sizes["smoke"], folder, worker), "float32")
    ask(worker, case, folder, "float32", "eager", "inference")
    found = difference(ours.inference()[0](), folder)
    worker.ask(do="forget")
    if not found <= TOLERANCE["float32"]:
        raise UserError(f"outputs differ by {found:.2g} std in float32: not timed")
    return found


def difference(ours: jax.Array, folder: Path) -> float:
    """Largest difference from their output, in its standard deviations."""
    theirs, mine = np.load(folder / "output.npy"), np.asarray(ours, np.float32)
    assert mine.shape == theirs.shape, (mine.shape, theirs.shape)
    return timing.rounded(float(np.abs(mine - theirs).max() / theirs.std()), 2)


def compare(
    case: Case, ours: Ours, task: str, precision: str, worker: Worker, folder: Path, options
) -> list[dict[str, Any]]:
    """A row a mode of PyTorch, all timed together with ours."""
    rows = [{"mode": mode} for mode in options.modes]
    try:
        run, compile_seconds = getattr(ours, task)()
        first = run()
        turns, timed = {"ours": timing.turn(run)}, {}
    except Exception as error:
        reason = f"here: {type(error).__name__}: {first_line(error)}"
        return [{**row, "error": reason} for row in rows]
    for row in rows:
        mode = row["mode"]
        try:
            answer = ask(worker, case, folder, precision, mode, task)
            row["compile_seconds"] = timing.rounded(compile_seconds)
            row["torch_first_seconds"] = timing.rounded(answer["first_call_seconds"])
            if task == "training":
                apart = timing.rounded(abs(float(first) / answer["loss"] - 1), 2)
            else:
                apart = difference(first, folder)
            row["difference"] = apart
            if not apart <= TOLERANCE[precision]:
                raise RuntimeError(f"results differ by {apart:.2g}: not timed")
        except RuntimeError as error:  # the other side says why
            row["error"] = first_line(error)
            continue
        turns[mode], timed[mode] = worker.turn(mode), row
    if timed:
        measure(turns, timed, options)
    return rows


def ask(worker: Worker, case: Case, folder: Path, precision: str, mode: str, task: str) -> dict:
    """Has the other side build the network for a task, and run it once."""
    how, _, layout = mode.partition("_")
    return worker.ask(
        do="make",
        key=mode,
        task=task,
        network=case.network,
        fields=dict(case.fields),
        weights=str(folder / "weights.npz"),
        data=str(folder / "data.npz"),
        output=str(folder / "output.npy") if task == "inference" else None,
        precision=precision,
        mode=how,
        layout=layout or "channels_last",
    )


def measure(turns: Mapping[str, Turn], rows: Mapping[str, dict], options) -> None:
    """Times all turns together and fills the rows."""
    times = timing.alternate(turns, rounds=options.rounds, seconds=options.seconds)
    for mode, row in rows.items():
        row |= timing.ratios(times["ours"], times[mode])
        row |= timing.seconds(times["ours"]) | timing.seconds(times[mode], "torch_")


def throughput(row: dict[str, Any], ceilings: dict[str, float], preset: str) -> dict[str, Any]:
    """Images a second, and model FLOP/s as a share of a matmul's at that precision."""
    if "seconds" not in row:
        return {}
    precision = row["precision"]
    if precision not in ceilings:
        dtype = "bfloat16" if precision == "bfloat16" else "float32"
        with jax.default_matmul_precision("highest" if precision == "float32" else None):
            ceilings[precision] = ceiling(preset, dtype)["flops"]
    batch = row["size"][0]
    flops = 2 * PASSES[row["task"]] * row["macs"] * batch
    found = {"ceiling_flops": ceilings[precision]}
    for whose in ("", "torch_"):
        seconds = row[f"{whose}seconds"]
        found[f"{whose}images_per_second"] = timing.rounded(batch / seconds)
        found[f"{whose}mfu"] = timing.rounded(flops / seconds / ceilings[precision], 3)
    return found


COLUMNS = {
    "network": "network",
    "task": "task",
    "size": "batch x size",
    "precision": "precision",
    "mode": "PyTorch",
    "float32_difference": "outputs differ by (std)",
    "seconds": "here (s)",
    "torch_seconds": "PyTorch (s)",
    "mfu": "MFU here",
    "torch_mfu": "MFU PyTorch",
    "ratio": "here / PyTorch",
    "ratio_quartiles": "quartiles",
}


def main(arguments: list[str] | None = None, worker: Any = None) -> list[dict[str, Any]]:
    parser = timing.parser("against_torch", __doc__)
    parser.add_argument("--torch-python", default="python3", help="a Python that has torch")
    parser.add_argument("--preset", choices=("cpu", "gpu", "smoke"), default="cpu")
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--tasks", nargs="*", choices=("inference", "training"))
    parser.add_argument("--precisions", nargs="*", choices=list(TOLERANCE), default=["float32"])
    parser.add_argument("--modes", nargs="*", choices=MODES, default=["eager"])
    parser.add_argument("--batch", type=int, help="instead of the preset's")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.5, help="least length of a turn")
    parser.add_argument("--budget", type=float, default=3600.0, help="no network starts after it")
    options = parser.parse_args(arguments)
    process.cache_compilations()
    end = time.monotonic() + options.budget
    worker = worker or Worker(options.torch_python)
    rows, ceilings = [], {}
    for name in options.only:
        found = rows_of(name, worker, options)
        if time.monotonic() > end:
            found = [{"network": name, "error": f"not run: {options.budget:.0f} s are up"}]
        for row in found:
            row |= throughput(row, ceilings, options.preset)
            rows.append(timing.line(QUESTION, row | worker.versions))
    worker.close()
    print("\n" + timing.table(rows, COLUMNS))
    return rows


if __name__ == "__main__":
    main()
