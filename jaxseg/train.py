"""Train an experiment: ``python -m jaxseg.train --config configs/quickstart.py --workdir W``."""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxseg import checkpoint, command, config, process, sharding
from jaxseg.checkpoint import Saver
from jaxseg.config import Experiment
from jaxseg.errors import UserError, first_line
from jaxseg.evaluate import Evaluator, Sample
from jaxseg.overrides import overridden
from jaxseg.report import Pace, Report, environment, plain, write_json, write_samples
from jaxseg.step import TrainState
from jaxseg.types import Batch

LOG_EVERY = 10
"""Steps between two lines of metrics.jsonl; their scalars are means over these steps."""

OUTPUTS = (
    "experiment.json", "metrics.jsonl", "summary.json", "evaluation.json", "progress.png",
    "samples.png", "events.*", checkpoint.FOLDER,
)  # fmt: skip


def train(
    experiment: Experiment,
    workdir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    until: int | None = None,
) -> dict[str, Any]:
    """Train, evaluate and keep checkpoints; returns what ``summary.json`` holds.

    The order: check, open data, build or restore the state, then for each step: next batch, step,
    log the step before, evaluate, save. ``until`` stops after that step as SIGTERM would, with a
    checkpoint. Raises UserError for an experiment or a workdir that cannot be used; nothing is
    written before all of it was checked.
    """
    workdir = Path(workdir)
    config.check(experiment)
    mesh = experiment.mesh.build()
    sharding.check_batch(mesh, experiment.batch_size, experiment.recipe.accumulate)
    with contextlib.ExitStack() as stack:
        if jax.process_index() == 0:
            stack.enter_context(checkpoint.lock(workdir))
        _admit(experiment, workdir, resume=resume, overwrite=overwrite)
        rows = sharding.local_rows(mesh, experiment.batch_size)
        batches = experiment.data.train(
            batch_size=experiment.batch_size, seed=experiment.seed, rows=rows
        )
        stack.callback(batches.close)
        evaluator = Evaluator(experiment, mesh)
        before = batches.get_state()
        example = next(batches)
        batches.set_state(before)
        sharding.check_rows(mesh, experiment.recipe.model, example.label.shape[1:])
        stack.enter_context(jax.set_mesh(mesh))
        compilations = stack.enter_context(process.count_compilations())
        step, place, state = compile_step(experiment, mesh, example)
        state, progress = _restored(workdir, state, batches, resume=resume)

        _clear(workdir, overwrite=overwrite)
        saver = stack.enter_context(Saver(workdir, experiment.checkpoint))
        if jax.process_index() == 0:
            config.write_json(experiment, workdir / checkpoint.EXPERIMENT)
        log = stack.enter_context(
            Report(
                workdir,
                total_steps=experiment.steps,
                resume_step=progress["step"],
                enabled=jax.process_index() == 0,
            )
        )
        run = _Run(experiment, saver, log, evaluator, progress)
        if progress["step"] == 0:
            state = init(experiment, mesh, example)
        stopping = stack.enter_context(process.stop_requests())
        for number in range(progress["step"] + 1, experiment.steps + 1):
            try:
                batch = next(batches)
            except UserError:
                run.rescue(number - 1, state, batches.get_state())
                raise
            state, scalars = step(state, place(batch))
            run.log(number, scalars)  # fetches the step before: this one is on its way
            stop = stopping(number) or number == until
            last = number == experiment.steps
            if last or number % experiment.evaluation.every == 0:
                run.evaluate(number, state)
            stop = stop or run.out_of_patience
            if last or stop or run.improved(number) or number % experiment.checkpoint.every == 0:
                run.save(number, state, batches.get_state())
            if stop and not last:
                log.message(f"stopped at step {number}; --resume goes on from there")
                break
        return run.summary(workdir, compilations)


# --- before the loop ------------------------------------------------------------------------------


def compile_step(
    experiment: Experiment, mesh: Mesh, example: Batch
) -> tuple[Callable, Callable[[Batch], Batch], TrainState]:
    """The jitted, donated step; how a host batch is put on the mesh; the abstract state."""
    recipe = experiment.scheduled
    shape = (experiment.batch_size, *example.image.shape[1:])

    def struct(x: np.ndarray) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((shape[0], *x.shape[1:]), x.dtype)

    batch = jax.tree.map(struct, example)
    with _traceable():
        abstract = jax.eval_shape(lambda: recipe.init(jax.random.key(experiment.seed), batch))
    placed = sharding.of_state(mesh, abstract), sharding.of_batch(mesh, batch)
    step = jax.jit(
        lambda state, batch: recipe.step(state, batch),
        in_shardings=placed,
        out_shardings=(placed[0], sharding.replicated(mesh)),
        donate_argnums=0,
        compiler_options=process.compiler_options(),
    )
    abstract, batch = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), (abstract, batch), placed
    )
    with _traceable():  # before anything is written; the first step finds this trace
        step.trace(abstract, batch)
    return step, lambda batch: sharding.put(mesh, batch, experiment.batch_size), abstract


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """What a network or a loss says of fields and sizes that it cannot take, as one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # layers raise what they like
        raise UserError(
            f"recipe: the network or a loss cannot be built for these images and options: "
            f"{type(error).__name__}: {first_line(error)} (--debug shows where)"
        ) from error


def init(experiment: Experiment, mesh: Mesh, example: Batch) -> TrainState:
    """The state of step 0, on the mesh; random bits do not depend on the mesh."""
    recipe = experiment.scheduled

    def create() -> TrainState:
        return recipe.init(jax.random.key(experiment.seed), example)

    placed = sharding.of_state(mesh, jax.eval_shape(create))
    return jax.jit(create, out_shardings=placed)()


def _admit(experiment: Experiment, workdir: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a workdir that holds a run, or another run than the one that is to go on."""
    path = workdir / checkpoint.EXPERIMENT
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    if not any(found for pattern in OUTPUTS for found in workdir.glob(pattern)):
        return
    for name in OUTPUTS:
        found = workdir / name
        if found.exists() and found.is_dir() != (name == checkpoint.FOLDER):
            raise UserError(f"{found}: not what a run of jaxseg leaves there; move it away")
    if not resume and not overwrite:
        raise UserError(
            f"--workdir {workdir} holds a run: --resume goes on with it, --overwrite starts again"
        )
    if resume:
        config.compatible(config.read_json(path), experiment, path)


def _clear(workdir: Path, *, overwrite: bool) -> None:
    """Remove the outputs of an overwritten run, once every process has admitted the workdir."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("workdir admitted")
    if overwrite and jax.process_index() == 0:
        for old in [p for pattern in OUTPUTS for p in workdir.glob(pattern)]:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("workdir cleared")


def _restored(
    workdir: Path, abstract: TrainState, batches: Any, *, resume: bool
) -> tuple[TrainState, dict[str, Any]]:
    """The newest checkpoint's state and progress, the data iterator set to its batch."""
    found = checkpoint.steps(workdir)
    if not resume or not found:
        return abstract, {"step": 0, "best": None, "best_step": None, "seconds": 0.0, "worse": 0}
    state, progress = checkpoint.restore(workdir, found[-1], abstract)
    known = {"step", "best", "best_step", "seconds", "worse", "data"}
    if not isinstance(progress, dict) or not known <= progress.keys():
        raise UserError(
            f"{workdir / checkpoint.FOLDER / str(found[-1])}: foreign checkpoint (its progress is "
            "not that of jaxseg.train); remove this folder to use an earlier step"
        )
    batches.set_state(progress["data"])
    return state, progress


# --- during the loop ------------------------------------------------------------------------------


class _Run:
    """What the loop remembers between steps, and says to the outside."""

    def __init__(
        self,
        experiment: Experiment,
        saver: Saver,
        log: Report,
        evaluator: Evaluator,
        progress: dict[str, Any],
    ) -> None:
        self._experiment, self._recipe = experiment, experiment.scheduled
        self._saver, self._log, self._evaluator = saver, log, evaluator
        self._progress = {k: v for k, v in progress.items() if k != "data"}
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._since: list[dict[str, float]] = []
        self._evaluated: tuple[int, dict[str, Any], list[Sample]] | None = None
        self._best_scores: dict[str, Any] | None = progress.get("scores")
        self._started = time.perf_counter()
        self._pace = Pace(experiment.batch_size)

    def log(self, number: int, scalars: dict[str, jax.Array]) -> None:
        """Take note of a dispatched step, and fetch the one before it."""
        pending, self._pending = self._pending, (number, scalars)
        if pending is not None:
            self._fetch(*pending)

    def flush(self) -> None:
        """Fetch the step that is still on its way."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._fetch(*pending)

    def _fetch(self, number: int, scalars: dict[str, jax.Array]) -> None:
        values = {name: float(value) for name, value in jax.device_get(scalars).items()}
        if not math.isfinite(values["loss"]):
            shown = " ".join(f"{name}={value:.4g}" for name, value in values.items())
            with contextlib.suppress(UserError):
                self._saver.wait()
            raise UserError(
                f"step {number}: the loss is not finite ({shown}); "
                f"last good checkpoint: {self._saver.last_good}"
            )
        self._since.append(values)
        self._log.progress(number, values["loss"])
        if number % LOG_EVERY == 0 or number == self._experiment.steps:
            self._write(number)

    def _write(self, number: int) -> None:
        count = len(self._since)
        means = {
            name: sum(values[name] for values in self._since) / count for name in self._since[0]
        }
        self._since = []
        self._log.scalars(number, {**means, "images_per_second": self._pace.lap(count)})

    def evaluate(self, number: int, state: TrainState) -> None:
        """Score the validation split and say so."""
        self.flush()
        self._pace.pause()
        confusion, samples = self._evaluator(self._recipe.variables(state), samples=4)
        names = self._experiment.data.dataset.class_names
        scores = confusion.scores(names)
        self._evaluated = number, scores, samples
        self._log.evaluation(number, scores, names, self._experiment.evaluation.metrics)
        key = self._experiment.checkpoint.best
        score = scores[key] if key else None
        best = self._progress["best"]
        if score is not None and math.isfinite(score) and (best is None or score > best):
            self._progress.update(best=score, best_step=number, worse=0)
            self._best_scores = scores
        else:
            self._progress["worse"] += 1
        if key is None:
            self._best_scores = scores
        self._pace.go_on()

    @property
    def out_of_patience(self) -> bool:
        """Early stopping."""
        patience = self._experiment.evaluation.patience
        return patience is not None and self._progress["worse"] >= patience

    def improved(self, number: int) -> bool:
        """Whether this very step gave the best score so far."""
        return self._progress["best_step"] == number

    def save(self, number: int, state: TrainState, data: Any) -> None:
        """Start a checkpoint of this step; what it says is settled first."""
        self.flush()
        scores: dict[str, float] = {}
        if self._evaluated is not None and self._evaluated[0] == number:
            scores = {k: v for k, v in self._evaluated[1].items() if isinstance(v, float)}
        seconds = self._progress["seconds"] + time.perf_counter() - self._started
        progress = {
            **self._progress,
            "step": number,
            "seconds": seconds,
            "data": data,
            "scores": plain(self._best_scores),
        }
        self._saver.save(number, state, progress, scores)
        self._progress["step"] = number

    def rescue(self, number: int, state: TrainState, data: Any) -> None:
        """Save what was trained until a file turned out bad; mended, the run can go on."""
        if number > self._progress["step"] and jax.process_count() == 1:  # a save needs them all
            self.save(number, state, data)
            self._log.message(f"saved at step {number}; --resume goes on from there")

    def summary(self, workdir: Path, compilations: list[float]) -> dict[str, Any]:
        """Wait for the last checkpoint, then write summary.json, samples.png and the last line."""
        self.flush()
        self._saver.wait()
        summary = {
            "step": self._progress["step"],
            "best_step": self._progress["best_step"] or self._progress["step"],
            "validation": self._best_scores,
            "seconds": self._progress["seconds"] + time.perf_counter() - self._started,
            "images_per_second": self._pace.overall,
            "compilations": len(compilations),
            **environment(),
        }
        if jax.process_index() == 0:
            write_json(workdir / "summary.json", summary)
            if self._evaluated is not None:
                names = self._experiment.data.dataset.class_names
                write_samples(workdir / "samples.png", self._evaluated[2], names)
            self._log.finish(summary, self._experiment.evaluation.metrics)
        return summary


# --- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.train",
        description="Train an experiment.",
        epilog="example: python -m jaxseg.train --config configs/quickstart.py "
        "--workdir runs/quickstart steps=200 recipe.optimizer.learning_rate.peak=1e-3",
    )
    parser.add_argument("--config", type=Path, help="Python file with experiment()")
    parser.add_argument(
        "--workdir", type=Path, required=True, help="folder for all that is written"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the workdir")
    parser.add_argument("--overwrite", action="store_true", help="start again in the workdir")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="join the other processes of this run (found by JAX, or as the next three say)",
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    parser.add_argument("--processes", type=int, help="number of processes")
    parser.add_argument("--process", type=int, help="number of this process")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="such as batch_size=8")
    options = parser.parse_intermixed_args(arguments)
    named = (options.coordinator, options.processes, options.process)
    process.join(*named, distributed=options.distributed)
    process.cache_compilations()
    train(
        _experiment(options.config, options.workdir, options.overrides, resume=options.resume),
        options.workdir,
        resume=options.resume,
        overwrite=options.overwrite,
    )


def _experiment(
    path: Path | None, workdir: Path, overrides: Sequence[str], *, resume: bool
) -> Experiment:
    if path is not None:
        return config.read(path, overrides)
    if not resume:
        raise UserError("--config is missing; with --resume it may be left out")
    return overridden(config.read_json(workdir / checkpoint.EXPERIMENT), overrides)


if __name__ == "__main__":
    command.run(main)
