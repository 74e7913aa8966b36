"""Score a run on a split: ``python -m jaxseg.evaluate --workdir runs/quickstart``."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from jaxseg import checkpoint, command, disk, process, report, sharding
from jaxseg.data import Data
from jaxseg.errors import UserError, first_line
from jaxseg.evaluator import Evaluator
from jaxseg.experiment import Experiment, check
from jaxseg.overrides import overridden
from jaxseg.workdir import EVALUATION, EXPERIMENT, classes_for


def evaluate(
    workdir: str | Path,
    split: str = "validation",
    *,
    step: int | None = None,
    tta: bool | None = None,
    overrides: Sequence[str] = (),
    classes: Iterable[type] = (),
) -> dict[str, Any]:
    """Scores of a run's checkpoint on a split, also written to ``workdir/evaluation.json``.

    ``tta=None`` is as the experiment says. ``overrides`` change the experiment, such as
    ``data.root`` where the data now lies elsewhere; scores of other data than the run's stand under
    the split and the root, or the overrides of ``data`` where more than the root is other.
    ``classes`` are the run's own classes.
    """
    workdir = Path(workdir)
    path = workdir / EVALUATION
    _read_scores(path)  # a damaged file is said before the work
    run = checkpoint.opened(workdir, step, classes=classes)
    experiment = _changed(run.experiment, overrides, tta, workdir / EXPERIMENT)
    mesh = sharding.MeshShape().build()
    evaluated, _ = Evaluator(experiment, mesh, split)(run.variables)
    scores = {"step": run.step, **evaluated.scores(experiment.data.dataset.class_names)}
    scores |= evaluated.intervals() | evaluated.distances_in
    name = _name(split, run.experiment.data, experiment.data, overrides)
    with FileLock(workdir / ".evaluation.lock"):  # two evaluations may end at once
        disk.write_json(path, {**_read_scores(path), name: scores})
    return scores


def _changed(
    stored: Experiment, overrides: Sequence[str], tta: bool | None, path: Path
) -> Experiment:
    """The run's experiment with what may be changed of it."""
    experiment: Experiment = overridden(stored, overrides)
    if experiment.recipe != stored.recipe:
        raise UserError("recipe.* is that of the checkpoint; override data.* and evaluation.* only")
    try:
        check(experiment)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if tta is None:
        return experiment
    evaluation = dataclasses.replace(experiment.evaluation, tta=tta)
    return dataclasses.replace(experiment, evaluation=evaluation)


def _name(split: str, stored: Data, given: Data, overrides: Sequence[str]) -> str:
    """The key of the scores: the split, and what is other of the data than the run's."""
    given = dataclasses.replace(given, workers=stored.workers, cache=stored.cache)
    if given == stored:
        return split
    if dataclasses.replace(given, root=stored.root) == stored:
        return f"{split} {given.root}"
    return " ".join([split, *(one for one in overrides if one.startswith("data."))])


def _read_scores(path: Path) -> dict[str, Any]:
    """What earlier evaluations wrote, of other splits."""
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({first_line(error)}); remove it") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not what jaxseg.evaluate writes; remove it")
    return found


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.evaluate",
        description="Score a run on a split of its data.",
        epilog="example: python -m jaxseg.evaluate --workdir runs/quickstart --split validation",
    )
    command.of_a_run(parser, step="score")
    parser.add_argument("--split", default="validation", help="train, validation or test")
    parser.add_argument("--tta", action="store_true", default=None, help="average over flips")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="such as data.root=...")
    options = parser.parse_intermixed_args(arguments)
    process.cache_compilations()
    scores = evaluate(
        options.workdir,
        options.split,
        step=options.step,
        tta=options.tta,
        overrides=options.overrides,
        classes=classes_for(options.workdir, options.classes),
    )
    report.print_scores(f"{options.workdir} step {scores['step']}, {options.split}", scores)


if __name__ == "__main__":
    command.run(main)
