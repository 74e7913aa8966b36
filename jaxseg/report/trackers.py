"""Where numbers and pictures of a run go beside its own files: TensorBoard, W&B, MLflow."""

import contextlib
import importlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from jaxseg import disk
from jaxseg.disk import plain
from jaxseg.errors import UserError, first_line, unknown
from jaxseg.workdir import TRACKED

Numbers = Mapping[str, float]


@runtime_checkable
class Tracker(Protocol):
    """One place where a run is followed; ``id`` is what a resumed run goes on with."""

    name: str
    id: str

    def scalars(self, step: int, numbers: Numbers) -> None:
        """Finite numbers of a step."""
        ...

    def picture(self, step: int, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """A picture of a step, such as the samples."""
        ...

    def close(self, *, failed: bool) -> None:
        """The run has ended, or an error has ended it."""
        ...


class TensorBoard:
    """TensorBoard's ``events.*`` in the workdir; entries later than ``resume_step`` are hidden."""

    name, id = "tensorboard", ""

    def __init__(self, workdir: Path, resume_step: int) -> None:
        from tensorboardX import SummaryWriter

        purge = resume_step + 1 if resume_step else None
        self._events = SummaryWriter(str(workdir), purge_step=purge, flush_secs=30)

    def scalars(self, step: int, numbers: Numbers) -> None:
        """Write a curve for each name."""
        for name, value in numbers.items():
            self._events.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the picture under the tab Images."""
        self._events.add_image(name, image, step, dataformats="HWC")

    def close(self, *, failed: bool) -> None:
        """Flush the file."""
        del failed
        self._events.close()


class WandB:
    """Weights & Biases; project, entity and mode are those of its environment variables.

    The project is "jaxseg" where none is named. A resumed run goes on under the same id; W&B
    ignores steps that it has already seen.
    """

    name = "wandb"

    def __init__(self, workdir: Path, config: Mapping[str, Any], id: str | None) -> None:
        self._wandb = _module(self.name)
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "jaxseg"),
            name=workdir.absolute().name,
            dir=str(workdir),
            config=dict(config),
            id=id,
            resume=None if id is None else "allow",
        )
        self.id = str(self._run.id)

    def scalars(self, step: int, numbers: Numbers) -> None:
        """Log a chart for each name."""
        self._run.log(dict(numbers), step=step)

    def picture(self, step: int, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Log the picture as a media panel."""
        self._run.log({name: self._wandb.Image(image, caption=f"step {step}")}, step=step)

    def close(self, *, failed: bool) -> None:
        """Wait until all has been sent."""
        self._run.finish(exit_code=1 if failed else 0)


class MLflow:
    """MLflow; server and experiment are those of its environment variables.

    A resumed run goes on under the same id, with the parameters that it began with.
    """

    name = "mlflow"

    def __init__(self, workdir: Path, config: Mapping[str, Any], id: str | None) -> None:
        self._mlflow = _module(self.name)
        if id is not None:
            self.id = str(self._mlflow.start_run(run_id=id).info.run_id)
            return
        self.id = str(self._mlflow.start_run(run_name=workdir.absolute().name).info.run_id)
        named = [(_key(name), str(value)[:500]) for name, value in _flat(config).items()]
        for at in range(0, len(named), 100):  # the most that one request may hold
            self._mlflow.log_params(dict(named[at : at + 100]))

    def scalars(self, step: int, numbers: Numbers) -> None:
        """Log a metric for each name."""
        self._mlflow.log_metrics({_key(name): x for name, x in numbers.items()}, step=step)

    def picture(self, step: int, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Log the picture as an artifact."""
        self._mlflow.log_image(image, f"{name}_{step:08d}.png")

    def close(self, *, failed: bool) -> None:
        """End the run."""
        self._mlflow.end_run(status="FAILED" if failed else "FINISHED")


TRACKERS: dict[str, Callable[..., Tracker]] = {"wandb": WandB, "mlflow": MLflow}
"""Trackers by the word after ``--log``; TensorBoard's file is always written."""

ENTRY = {"wandb": "init", "mlflow": "start_run"}
"""What shows that a package is there."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse unknown names, and those whose package is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("--log: no tracker is called", name, TRACKERS)
        _module(name)


def open_trackers(
    names: Sequence[str], workdir: Path, config: Mapping[str, Any], *, resume: bool
) -> tuple[Tracker, ...]:
    """The trackers of these names, which go on with the run's own ids where it is resumed."""
    ids = _ids(workdir) if resume else {}
    opened: list[Tracker] = []
    for name in dict.fromkeys(names):
        try:
            opened.append(TRACKERS[name](workdir, plain(config), ids.get(name)))
        except UserError:
            raise
        except Exception as error:  # they raise what their servers say
            for tracker in opened:
                tracker.close(failed=True)
            raise UserError(f"--log {name}: {type(error).__name__}: {first_line(error)}") from error
    return tuple(opened)


def note_trackers(workdir: Path, trackers: Sequence[Tracker]) -> None:
    """Keep their ids for a resumed run, beside those of trackers that do not hear this time."""
    if trackers:
        ids = {tracker.name: tracker.id for tracker in trackers}
        disk.write_json(workdir / TRACKED, {**_ids(workdir), **ids})


def _ids(workdir: Path) -> dict[str, str]:
    try:
        found = json.loads((workdir / TRACKED).read_text())
    except (OSError, ValueError):
        return {}  # it was not followed so far
    return found if isinstance(found, dict) else {}


def _module(name: str) -> Any:
    """The package; a folder of its name, which such packages leave behind, is none."""
    with contextlib.suppress(ImportError):
        module = importlib.import_module(name)
        if hasattr(module, ENTRY[name]):
            return module
    raise UserError(f'--log {name} needs {name}: pip install "jaxseg[{name}]"')


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their dotted names, as they are typed as overrides."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        here = f"{before}.{name}" if before else name
        found |= _flat(value, here) if isinstance(value, Mapping) else {here: value}
    return found


def _key(name: str) -> str:
    """A name of the characters that MLflow takes, with one slash at most.

    In MLflow's folders ``validation/dice`` is a file, in which there is no ``dice/nucleus``.
    """
    head, slash, rest = re.sub(r"[^\w\-. /]", "_", name).partition("/")
    return head + slash + rest.replace("/", ".")
