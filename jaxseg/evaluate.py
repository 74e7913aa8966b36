"""Score a run on a split, or on new labelled files: ``python -m jaxseg.evaluate --workdir W``.

Several runs are scored as one: the mean of their probabilities (`jaxseg.ensemble`), on the data,
the split and by the metrics of the first. Scores go into ``evaluation.json`` of the (first) run,
and beside it a row a case and a picture of the confusion matrix (`jaxseg.scorecard`).
"""

import dataclasses
import json
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from jaxseg import command, disk, ensemble, process, report, scorecard, sharding
from jaxseg.checkpoint import Opened
from jaxseg.data.labelled import labelled
from jaxseg.data.masks import parse_values
from jaxseg.ensemble import Workdirs
from jaxseg.errors import UserError, first_line
from jaxseg.evaluator import Evaluator
from jaxseg.experiment import Checkpoints, Experiment, check
from jaxseg.metrics import Evaluated
from jaxseg.overrides import overridden
from jaxseg.score_key import key_of
from jaxseg.seen import seen_line
from jaxseg.unlike import Unlike
from jaxseg.workdir import CASES, EVALUATION, EXPERIMENT, classes_for


def evaluate(
    workdir: Workdirs,
    split: str | None = None,
    *,
    images: str | Path | None = None,
    masks: str | Path | None = None,
    values: Sequence[int] | None = None,
    step: int | None = None,
    tta: bool | None = None,
    overrides: Sequence[str] = (),
    classes: Iterable[type] = (),
    verify: bool = True,
) -> dict[str, Any]:
    """Scores of a run's checkpoint on a split, also written to ``workdir/evaluation.json``.

    ``split=None`` is "validation". With ``images`` and ``masks`` all files of these two folders are
    scored instead, paired by name; masks are read as the run's own if its data set is a `Folder`,
    else as class numbers, or hold ``values[k]`` for class k.
    ``tta=None`` is as the experiment says. ``overrides`` change the experiment, such as
    ``data.root`` where the data now lies elsewhere; what is other than in the run stands in the
    key of the scores: the root, else the overrides of ``data``, flips, windows, objects. Of several
    runs the others' folders do; overrides of ``evaluation`` hold for all of them.
    Cases that a run was trained on are said.
    Each case's own scores and the confusion matrix lie in ``files`` below the workdir.
    ``classes`` are the runs' own classes; ``verify=False`` does not hold the checkpoint against its
    digests.
    """
    folders = ensemble.listed(workdir)
    first, *others = folders
    classes = tuple(classes)
    _read_scores(first / EVALUATION)  # a damaged file is said before the work
    new = _new_files(split, images, masks, values)
    stored = ensemble.opened(folders, step, classes=classes, verify=verify)
    runs = _changed_all(stored, folders, overrides, tta, classes)
    experiment = runs[0].experiment
    key = key_of(new or split or "validation", stored, runs, overrides)
    if others:
        key = " ".join([key, "with", *map(str, others)])
    if images is not None and masks is not None:
        dataset = labelled(experiment.data.dataset, images, masks, values)
        data = dataclasses.replace(experiment.data, dataset=dataset)
        experiment = dataclasses.replace(experiment, data=data)
    split = split or "validation"
    if split != "train" and (new or others):  # else a run's own splits share no case
        line = seen_line(experiment.data, split, stored, folders)
        if line is not None:
            logging.getLogger("jaxseg").warning(line)
    unlike = Unlike.to(first)
    evaluated = _scored(runs, experiment, split, unlike)
    unlike.say(len(evaluated.names))
    return _written(first, key, runs[0].step, evaluated, experiment)


def _new_files(
    split: str | None,
    images: str | Path | None,
    masks: str | Path | None,
    values: Sequence[int] | None,
) -> str | None:
    """What new files are called in the key; None where a split is scored."""
    if (images is None) != (masks is None):
        raise UserError("--images and --masks belong together: give a folder for each")
    if images is None:
        if values is not None:
            raise UserError("--values says what --masks holds; a split is read as the run reads it")
        return None
    if split is not None:
        raise UserError(f"--split {split}: new images are no split; leave out --split or --images")
    return f"images {images} masks {masks}"


def _scored(
    runs: Sequence[Opened], experiment: Experiment, split: str, unlike: Unlike
) -> Evaluated:
    variables, mesh = runs[0].variables, sharding.MeshShape().build()
    if len(runs) > 1:  # each run then sees the images in its own way, and the evaluator as stored
        experiment, several = ensemble.together(runs, experiment)
        return Evaluator(experiment, mesh, split)(several)[0]

    def look(case: dict[str, Any]) -> None:
        unlike.look(0, case["image"], case["name"])

    return Evaluator(experiment, mesh, split, look=look)(variables)[0]


def _written(
    workdir: Path, key: str, step: int, evaluated: Evaluated, experiment: Experiment
) -> dict[str, Any]:
    """The scores, once they are on the disk with what lies beside them."""
    names, place = experiment.data.dataset.class_names, f"{CASES}/{scorecard.slug(key)}"
    scores = {"step": step, "cases": len(evaluated.names), "files": place}
    scores |= evaluated.scores(names) | evaluated.intervals() | evaluated.distances_in
    path = workdir / EVALUATION
    with FileLock(workdir / ".evaluation.lock"):  # two evaluations may end at once
        scorecard.write(workdir / place, evaluated, names)
        disk.write_json(path, {**_read_scores(path), key: scores})
    return {"key": key} | scores


# --- what is other than in the run ----------------------------------------------------------------


def _changed_all(
    stored: Sequence[Opened],
    folders: Sequence[Path],
    overrides: Sequence[str],
    tta: bool | None,
    classes: Sequence[type] = (),
) -> list[Opened]:
    """The runs with what may be changed of them: of the first all, of the others evaluation."""
    runs = []
    for number, (run, folder) in enumerate(zip(stored, folders, strict=True)):
        given = [one for one in overrides if not number or one.startswith("evaluation.")]
        experiment: Experiment = overridden(run.experiment, given, classes)
        experiment = _checked(run.experiment, experiment, tta, folder / EXPERIMENT)
        runs.append(run._replace(experiment=experiment))
    return runs


def _checked(
    stored: Experiment, experiment: Experiment, tta: bool | None, path: Path
) -> Experiment:
    """The changed experiment, if only what may be changed of a run differs, with its flips."""
    if experiment.recipe != stored.recipe:
        raise UserError("recipe.* is that of the checkpoint; override data.* and evaluation.* only")
    try:
        # Which checkpoint was the best is settled; other scores may be asked for now.
        check(dataclasses.replace(experiment, checkpoint=Checkpoints(best=None)))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if tta is None:
        return experiment
    evaluation = dataclasses.replace(experiment.evaluation, tta=tta)
    return dataclasses.replace(experiment, evaluation=evaluation)


def _read_scores(path: Path) -> dict[str, Any]:
    """What earlier evaluations wrote, of other splits."""
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({first_line(error)}); remove it") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not what jaxseg.evaluate writes; remove it")
    return found


# --- the command ----------------------------------------------------------------------------------


def _apart(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Folders, and the overrides that stand after them: ``--workdir R1 R2 data.root=new``."""
    typed = [bool(re.match(r"[\w.]+=", word)) and not Path(word).is_dir() for word in words]
    folders = [Path(word) for word, override in zip(words, typed, strict=True) if not override]
    return folders, [word for word, override in zip(words, typed, strict=True) if override]


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.evaluate",
        description="Score a run on a split of its data, or on new labelled files; of several "
        "runs, the mean of their probabilities, on the data of the first.",
        epilog="example: python -m jaxseg.evaluate --workdir runs/quickstart --split validation",
    )
    ensemble.add_runs(parser, step="score")
    parser.add_argument("--split", help="train, validation (the default) or test")
    parser.add_argument("--images", type=Path, help="folder of new images, instead of a split")
    parser.add_argument("--masks", type=Path, help="folder of their masks, of the same names")
    parser.add_argument(
        "--values", help="what the masks hold for each class, such as 0,255 (default: as the run's)"
    )
    parser.add_argument("--tta", action="store_true", default=None, help="average over flips")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="such as data.root=...")
    options = parser.parse_intermixed_args(arguments)
    folders, overrides = _apart(options.workdir)
    process.cache_compilations()
    scores = evaluate(
        folders,
        options.split,
        images=options.images,
        masks=options.masks,
        values=None if options.values is None else parse_values(options.values),
        step=options.step,
        tta=options.tta,
        overrides=[*overrides, *options.overrides],
        classes=classes_for(folders, options.classes),
        verify=not options.unverified,
    )
    count = f"{scores['cases']} case{'s' * (scores['cases'] != 1)}"
    report.print_scores(f"{folders[0]} step {scores['step']}, {scores['key']}, {count}", scores)
    print(f"each case, and the confusion matrix: {folders[0] / scores['files']}")


if __name__ == "__main__":
    command.run(main)
