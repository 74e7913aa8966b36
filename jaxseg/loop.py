"""What a training loop does beside its steps: log, evaluate, save, and say how it ended."""

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from jaxseg import disk
from jaxseg.errors import UserError, first_line
from jaxseg.evaluator import Evaluate, Sample
from jaxseg.experiment import Experiment
from jaxseg.progress import Progress
from jaxseg.report import Pace, check_trackers, environment, fetched, write_batch, write_samples
from jaxseg.step import TrainState
from jaxseg.types import Batch
from jaxseg.workdir import BATCH, SAMPLES, SUMMARY

LOG_EVERY = 10
"""Steps between two lines of metrics.jsonl; their scalars are means over these steps."""

SHOWN = 3
"""The first cases in samples.png, and as many of the worst."""

SAMPLES_SECONDS = 300.0
"""samples.png is drawn after an evaluation, no more often than this, and at the end."""

FINITE = {"loss": "loss", "gradient_norm": "gradient"}
"""Scalars without which a run has gone wrong, where a recipe has them, and what they are of.

After a gradient of NaN the parameters are NaN: a checkpoint of that step would pass for a good one.
"""


@runtime_checkable
class Writer(Protocol):
    """Where a run says what it does: `jaxseg.report.Report`, or one's own."""

    def progress(self, step: int, loss: float, images_per_second: float | None = None) -> None:
        """A step has been fetched."""
        ...

    def scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Means since the last call."""
        ...

    def evaluation(
        self,
        step: int,
        scores: Mapping[str, Any],
        class_names: Sequence[str] | None = None,
        metrics: Sequence[str] = ("dice", "iou"),
    ) -> None:
        """The scores of an evaluation; ``metrics`` are those to show."""
        ...

    def picture(self, step: int, path: str | Path) -> None:
        """A picture of the workdir has been drawn."""
        ...

    def message(self, text: str) -> None:
        """A line for the user."""
        ...

    def finish(self, summary: Mapping[str, Any], metrics: Sequence[str] = ("dice", "iou")) -> None:
        """The run has ended."""
        ...


def check_writer(writer: Any, log: Sequence[str]) -> None:
    """Refuse a writer that lacks a method, before it is missed, and trackers that cannot be had."""
    check_trackers(log)
    if writer is None:
        return
    missing = [name for name in vars(Writer) if name[0] != "_" and not hasattr(writer, name)]
    if missing:
        raise UserError(f"writer: {type(writer).__name__} has no {', '.join(missing)}")
    if log:
        raise UserError(f"log={log}: trackers are those of the run's own writer; leave out one")


@runtime_checkable
class Saves(Protocol):
    """Where a run's checkpoints go: `jaxseg.checkpoint.Saver`, or one's own."""

    @property
    def last_good(self) -> str:
        """The newest whole checkpoint, for messages."""
        ...

    def save(
        self, step: int, state: TrainState, progress: Progress, scores: Mapping[str, float]
    ) -> None:
        """Start to save."""
        ...

    def wait(self) -> None:
        """Return when the last save is whole."""
        ...


class Loop:
    """The side of the loop that changes: what is on its way, and how far the run has come."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        progress: Progress,
        evaluator: Evaluate | None,
        writer: Writer,
        saver: Saves,
        *,
        began: float,
    ) -> None:
        """``progress`` is that of the checkpoint the run goes on from; None evaluates nothing.

        ``began`` is when the compiler was asked, by ``time.perf_counter()``: the run's seconds
        count from there.
        """
        self._experiment, self._recipe = experiment, experiment.scheduled
        self._workdir, self._progress, self._before = workdir, progress, progress.seconds
        self._evaluator, self._writer, self._saver = evaluator, writer, saver
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._since: list[dict[str, float]] = []
        self._evaluated: tuple[int, Mapping[str, Any], list[Sample]] | None = None
        self._began, self._drawn = began, time.monotonic()
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
        bad = [name for name in FINITE if not math.isfinite(values.get(name, 0.0))]
        if bad:
            shown = " ".join(f"{name}={value:.4g}" for name, value in values.items())
            with contextlib.suppress(UserError):
                self._saver.wait()
            raise UserError(
                f"step {number}: the {FINITE[bad[0]]} is not finite ({shown}); "
                f"last good checkpoint: {self._saver.last_good}"
            )
        self._since.append(values)
        self._writer.progress(number, values["loss"])
        if number % LOG_EVERY == 0 or number == self._experiment.steps:
            self._write(number)

    def _write(self, number: int) -> None:
        count = len(self._since)
        columns = {name: [values[name] for values in self._since] for name in self._since[0]}
        self._since = []
        # A scalar that a step did not measure is NaN; one that no step measured is not written.
        measured = {name: [v for v in vs if not math.isnan(v)] for name, vs in columns.items()}
        means = {name: float(np.mean(values)) for name, values in measured.items() if values}
        self._writer.scalars(number, {**means, "images_per_second": self._pace.lap(count)})

    def show(self, number: int, state: TrainState, batch: Batch) -> None:
        """Draw batch.png of what the network is about to see; no failure of that ends a run."""
        path = self._workdir / BATCH
        try:
            with jax.transfer_guard("allow"):  # a recipe of one's own may draw as it likes
                examples = fetched(self._recipe, state, batch)
            if jax.process_index() == 0:
                write_batch(path, examples, self._experiment.data.dataset.class_names)
                self._writer.picture(number, path)
        except Exception as error:  # recipes and disks raise what they like
            why = f"{type(error).__name__}: {first_line(error)}"
            self._writer.message(f"{path} could not be drawn ({why})")

    def evaluate(self, number: int, state: TrainState) -> None:
        """Score the validation split, where there is one, and say so."""
        if self._evaluator is None:
            return
        self.flush()
        self._pace.pause()
        evaluated, samples = self._evaluator(self._recipe.variables(state), samples=SHOWN)
        names = self._experiment.data.dataset.class_names
        with jax.transfer_guard("allow"):  # a score of one's own may compute anywhere
            scores = evaluated.scores(names)
        self._evaluated = number, scores, samples
        self._writer.evaluation(number, scores, names, self._experiment.evaluation.names)
        best = self._experiment.checkpoint.best
        self._progress = self._progress.evaluated(number, scores, best)
        if self.out_of_patience and number < self._experiment.steps:
            patience = self._experiment.evaluation.patience
            self._writer.message(
                f"early stopping at step {number}: {self._progress.highest(best)} for {patience} "
                "evaluations (evaluation.patience)"
            )
        if time.monotonic() - self._drawn > SAMPLES_SECONDS:
            self._draw()
        self._pace.go_on()

    def _draw(self) -> None:
        """Draw samples.png of the last evaluation, where there was one."""
        self._drawn, path = time.monotonic(), self._workdir / SAMPLES
        if self._evaluated is None or jax.process_index() > 0:
            return
        number, _, samples = self._evaluated
        write_samples(path, samples, self._experiment.data.dataset.class_names)
        self._writer.picture(number, path)

    @property
    def out_of_patience(self) -> bool:
        """Whether early stopping is due."""
        return self._progress.out_of(self._experiment.evaluation.patience)

    def improved(self, number: int) -> bool:
        """Whether this very step gave the best score so far."""
        return self._progress.best_step == number

    def save(self, number: int, state: TrainState, data: Mapping[str, Any]) -> None:
        """Start a checkpoint of this step; what it says is settled first."""
        self.flush()
        scores: dict[str, float] = {}
        if self._evaluated is not None and self._evaluated[0] == number:
            scores = {k: v for k, v in self._evaluated[1].items() if isinstance(v, float)}
        self._progress = self._progress.saved(number, self._seconds, data)
        with jax.transfer_guard("allow"):  # orbax fetches as it likes
            self._saver.save(number, state, self._progress, scores)

    def rescue(self, number: int, state: TrainState, data: Mapping[str, Any]) -> None:
        """Save what was trained until a file turned out bad; mended, the run can go on."""
        if number > self._progress.step and jax.process_count() == 1:  # a save needs them all
            self.save(number, state, data)
            self._writer.message(f"saved at step {number}; --resume goes on from there")

    @property
    def _seconds(self) -> float:
        """Seconds of the run, with those before it was resumed."""
        return self._before + time.perf_counter() - self._began

    def summary(self, compilations: list[float], stopped: str | None) -> dict[str, Any]:
        """Wait for the last checkpoint, then write summary.json, samples.png and the last lines.

        ``stopped`` says what ended the run before its last step, if anything did: "SIGINT",
        "SIGTERM", "patience" or "until".
        """
        self.flush()
        self._saver.wait()
        progress = self._progress
        summary = {
            "step": progress.step,
            "best_step": progress.best_step or progress.step,
            "validation": progress.scores,
            "seconds": self._seconds,
            "images_per_second": self._pace.overall,
            "compilations": len(compilations),
            "stopped": stopped,
            **environment(),
        }
        if jax.process_index() == 0:
            disk.write_json(self._workdir / SUMMARY, summary)
            self._draw()
            self._writer.finish(summary, self._experiment.evaluation.names)
        return summary
