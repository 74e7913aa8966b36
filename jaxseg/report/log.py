"""The log of a run while it trains."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jaxseg.errors import first_line
from jaxseg.report.curves import write_progress
from jaxseg.report.records import Metrics
from jaxseg.report.scores import by_class, score_line
from jaxseg.report.trackers import TensorBoard, Tracker, note_trackers
from jaxseg.workdir import METRICS, PROGRESS

QUIET_SECONDS = 10.0
"""Where the output is no terminal, one line of progress in this many seconds."""

DRAW_SECONDS = 60.0
"""progress.png is drawn after an evaluation, no more often than this, and at the end."""


class Report:
    """Says what a run does, on the terminal and in its workdir. A context manager.

    Writes metrics.jsonl, TensorBoard's events.* and progress.png; entries later than `resume_step`
    are dropped. `best` is the score that progress.png marks; `trackers` hear all of it too, and
    one that fails is left out from then on. With `enabled=False` (all processes but the first)
    every method does nothing. Nothing here reads a device: hand over host numbers.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        total_steps: int,
        resume_step: int = 0,
        enabled: bool = True,
        console: Console | None = None,
        best: str | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        """Opens the files; the bar appears with the first call of `progress`."""
        self._workdir, self._enabled, self._best = Path(workdir), enabled, best
        if not enabled:
            return
        self._metrics = Metrics(self._workdir / METRICS, resume_step)
        note_trackers(self._workdir, trackers)
        self._trackers = [TensorBoard(self._workdir, resume_step), *trackers]
        console = console or Console(soft_wrap=True)
        self._console = console
        lines = _Lines(console, total_steps)
        self._bar = _Bar(console, total_steps) if console.is_terminal else lines
        self._rate: float | None = None
        self._drawn = time.monotonic()
        self._closed = False

    def __enter__(self) -> "Report":
        """Return the report itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes; where an error is already on its way, that one is what gets out."""
        with contextlib.suppress(*[Exception] if kind else []):
            self.close(failed=kind is not None)

    def scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Write numbers of a step; `images_per_second` among them shows in the bar."""
        if not self._enabled:
            return
        numbers = {name: float(value) for name, value in scalars.items()}
        self._rate = numbers.get("images_per_second", self._rate)
        self._metrics.write(step, numbers)
        finite = {name: value for name, value in numbers.items() if np.isfinite(value)}
        self._tell(lambda tracker: tracker.scalars(step, finite))

    def picture(self, step: int, path: str | Path) -> None:
        """Hand a picture of the workdir on to those who follow the run."""
        if not self._enabled:
            return
        with Image.open(path) as opened:
            image = np.asarray(opened.convert("RGB"))
        self._tell(lambda tracker: tracker.picture(step, Path(path).stem, image))

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        """Call every tracker; one that fails must not end the run, and is not called again."""
        for tracker in tuple(self._trackers):
            try:
                call(tracker)
            except Exception as error:  # they raise what their servers say
                self._trackers.remove(tracker)
                with contextlib.suppress(Exception):
                    tracker.close(failed=True)
                why = f"{type(error).__name__}: {first_line(error)}"
                self.message(f"{tracker.name} has failed and is left out from here on: {why}")

    def progress(self, step: int, loss: float, images_per_second: float | None = None) -> None:
        """Move the bar; without a rate, the last one that `scalars` saw is shown."""
        if self._enabled:
            self._rate = images_per_second or self._rate
            self._bar.move(step, loss, self._rate)

    def evaluation(
        self,
        step: int,
        scores: Mapping[str, Any],
        class_names: Sequence[str] | None = None,
        metrics: Sequence[str] = ("dice", "iou"),
    ) -> None:
        """One line on the terminal, and the scores as `validation/...` of this step.

        `scores` are those of `Confusion.scores`; all are written, `metrics` are shown.
        """
        if not self._enabled:
            return
        flat = {}
        for name, value in scores.items():
            if not name.endswith("_per_class"):
                flat[f"validation/{name}"] = value
        for name in metrics:
            for label, value in by_class(scores, name, class_names).items():
                flat[f"validation/{name}/{label}"] = value
        self.scalars(step, {k: np.nan if v is None else v for k, v in flat.items()})
        self.message(f"step {step}: {score_line(scores, metrics, class_names)}")
        if time.monotonic() - self._drawn > DRAW_SECONDS:
            self._draw()

    def message(self, text: str) -> None:
        """A line of text above the bar."""
        if self._enabled:
            self._console.print(text, markup=False, highlight=False)

    def finish(self, summary: Mapping[str, Any], metrics: Sequence[str] = ("dice", "iou")) -> None:
        """The last lines: what summary.json says, in short, where everything is, how it ended."""
        if not self._enabled:
            return
        self.close()
        parts = [f"step {summary['step']}"]
        if summary.get("validation"):
            at = summary.get("best_step")
            parts.append(f"validation {score_line(summary['validation'], metrics)}")
            parts[-1] += f" (step {at})" if at is not None else ""
        parts.append(f"{summary['seconds']:.0f} s")
        if summary.get("images_per_second"):
            parts.append(f"{summary['images_per_second']:.1f} images/s")
        broken = summary.get("stopped") not in (None, "patience")
        so = "so far" if broken else "done"
        self.message(f"{so}: {', '.join(parts)}; everything is in {self._workdir}")
        if broken:
            self.message(f"stopped at step {summary['step']}; --resume goes on from there")

    def close(self, *, failed: bool = False) -> None:
        """Flush all files and draw progress.png; a second call does nothing."""
        if not self._enabled or self._closed:
            return
        self._closed = True
        self._bar.stop()
        self._metrics.close()
        self._tell(lambda tracker: tracker.close(failed=failed))
        self._draw()

    def _draw(self) -> None:
        write_progress(self._workdir / PROGRESS, self._workdir / METRICS, self._best)
        self._drawn = time.monotonic()


def _rate(images_per_second: float | None) -> str:
    return "" if images_per_second is None else f"{images_per_second:.1f} images/s"


class _Bar:
    """On a terminal: one line that moves."""

    def __init__(self, console: Console, total: int) -> None:
        self._total, self._started = total, False
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("loss {task.fields[loss]:.4g}  {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: Any = None

    def move(self, step: int, loss: float, rate: float | None) -> None:
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task(
                "train", total=self._total, completed=step, loss=loss, rate=_rate(rate)
            )
        self._bar.update(self._task, completed=step, loss=loss, rate=_rate(rate))

    def stop(self) -> None:
        if self._task is not None:
            self._bar.stop()


class _Lines:
    """Progress in a file or a pipe: a plain line now and then."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._first: tuple[float, int] | None = None
        self._said = 0.0

    def move(self, step: int, loss: float, rate: float | None) -> None:
        now = time.monotonic()
        if self._first is None:  # the first step has waited for the compiler: no pace yet
            self._first, self._said = (now, step), now
            return
        if now - self._said < QUIET_SECONDS and step != self._total:
            return
        begun, at = self._first
        pace = (now - begun) / max(step - at, 1)
        minutes, seconds = divmod(round(pace * (self._total - step)), 60)
        parts = [f"step {step}/{self._total}", f"loss {loss:.4g}", _rate(rate)]
        parts.append(f"ETA {minutes}:{seconds:02d}" if step < self._total else "")
        self._said = now
        self._console.print("  ".join(p for p in parts if p), markup=False, highlight=False)

    def stop(self) -> None:
        pass
