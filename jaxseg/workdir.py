"""A run's folder: the names of what a run leaves in it, who may use it, and what is cleared."""

import contextlib
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
from filelock import FileLock, Timeout
from jax.experimental import multihost_utils

from jaxseg import fields
from jaxseg.config import classes
from jaxseg.errors import UserError
from jaxseg.experiment import Experiment
from jaxseg.record import changed_sources, compatible, read_json

EXPERIMENT = "experiment.json"
CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
INTENSITIES = "intensities.json"
EVALUATION = "evaluation.json"
CASES = "evaluation"
PROGRESS = "progress.png"
SAMPLES = "samples.png"
BATCH = "batch.png"
EVENTS = "events.*"
TRACKED = "trackers.json"
PROFILE = "profile"
LOCK = ".lock"

FOLDERS = (CHECKPOINTS, CASES, PROFILE)
OUTPUTS = (
    EXPERIMENT, METRICS, SUMMARY, INTENSITIES, EVALUATION, PROGRESS, SAMPLES, BATCH, EVENTS,
    TRACKED, *FOLDERS,
)  # fmt: skip
"""Patterns of all that a run leaves, and that `clear` removes."""


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold ``workdir``, made where absent, for one run; freed when the process dies, however."""
    lock = FileLock(workdir / LOCK, timeout=0)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"--workdir {workdir} is in use by another run; wait for it or name another"
        ) from error
    except (OSError, NotImplementedError) as error:
        here = workdir if workdir.exists() else next(p for p in workdir.parents if p.exists())
        why = getattr(error, "strerror", None) or str(error)
        why = why if here.is_dir() else f"{here} is no folder"
        raise UserError(f"--workdir {workdir}: cannot be used ({why}); name another") from error
    try:
        yield
    finally:
        lock.release()


def classes_for(workdir: Path | Iterable[Path], file: Path | None) -> tuple[type, ...]:
    """The classes of ``--classes FILE``; says so where it is not what a run was trained with."""
    found = classes(file)
    if found:
        for one in (workdir,) if isinstance(workdir, Path) else workdir:
            _say_changed(one / EXPERIMENT, found)
    return found


def _say_changed(path: Path, own: Iterable[type]) -> None:
    for module in changed_sources(path, own):
        print(f"jaxseg: {path}: {module} has changed since the run began", file=sys.stderr)


def admit(experiment: Experiment, workdir: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a workdir that holds a run, or another run than the one that is to go on."""
    path = workdir / EXPERIMENT
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    if not any(found for pattern in OUTPUTS for found in workdir.glob(pattern)):
        return
    for name in OUTPUTS:
        found = workdir / name
        if found.exists() and found.is_dir() != (name in FOLDERS):
            raise UserError(f"{found}: not what a run of jaxseg leaves there; move it away")
    if not resume and not overwrite:
        raise UserError(
            f"--workdir {workdir} holds a run: --resume goes on with it, --overwrite starts again"
        )
    if resume:
        own = fields.classes_in(experiment)
        compatible(read_json(path, classes=own), experiment, path)
        _say_changed(path, own)


def clear(workdir: Path, *, overwrite: bool) -> None:
    """Remove the outputs of an overwritten run, once every process has admitted the workdir."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("workdir admitted")
    if overwrite and jax.process_index() == 0:
        for old in [p for pattern in OUTPUTS for p in workdir.glob(pattern)]:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("workdir cleared")
