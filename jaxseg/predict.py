"""Label maps of image files: ``python -m jaxseg.predict --workdir W --input I --output O``.

Label maps hold class numbers, or with ``--values`` the numbers that the user's own masks have; what
else is written, and how files are called, is in `jaxseg.predicted_file`. A folder is gone through
with all that lies below it, and its sub-folders are made again in the output. Of several runs the
mean of the probabilities is predicted (`jaxseg.ensemble`).

A network for 2-D images predicts multi-page TIFF page by page and NIfTI volumes slice by slice
along their last axis. A grey file is repeated to as many channels as the network has; three colours
become grey (ITU-R 601 luma) for a network of one channel.
"""

import dataclasses
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxseg import command, disk, ensemble, process
from jaxseg.checkpoint import Opened
from jaxseg.crf import DenseCRF, check_rank
from jaxseg.crf_option import add_crf, crf_of
from jaxseg.data import NNUNet, images
from jaxseg.data.labelled import reading_of
from jaxseg.data.masks import parse_values
from jaxseg.ensemble import Workdirs
from jaxseg.errors import UserError
from jaxseg.experiment import Experiment
from jaxseg.inputs import Input, admit, inputs
from jaxseg.predicted_file import Network, Predicted, Wanted, predicted, written
from jaxseg.predictor import Case, CaseResult, Gives, Segment, bounded, run
from jaxseg.unlike import Unlike
from jaxseg.workdir import classes_for

Values = Sequence[int] | Literal["own"]
"""The number of each class in label maps; "own": that of the masks that the run was trained on."""


class Failed(NamedTuple):
    """A file that could not be predicted, and why: one line that names it."""

    file: Path
    why: str


def predict(
    workdir: Workdirs,
    input: str | Path,
    output: str | Path,
    *,
    step: int | None = None,
    tta: bool | None = None,
    crf: DenseCRF | None = None,
    overlay: bool = False,
    probabilities: bool = False,
    instances: bool = False,
    values: Values | None = None,
    overwrite: bool = False,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> list[Path]:
    """Label maps of a file, or of all images in a folder and below it; their paths.

    Images are normalised and cut into windows as the run's experiment says; ``tta=None`` and
    ``crf=None`` as well.
    Where it says whole images, those beyond two million pixels are cut all the same: a 4096 x 4096
    image then fits where it would not at once.
    ``probabilities`` also writes ``<stem>_probabilities.npy``, float32 ``[*spatial k]``, and
    ``overlay`` the prediction drawn over the image (of a stack its middle image, of a volume three
    planes). ``instances`` numbers the objects of each image in ``<stem>_instances``, told apart as
    the run's ``evaluation.instances`` says; a network that finds objects leaves that always.
    ``values[k]`` is written for class k instead of k. ``classes`` are the runs' own classes;
    ``verify=False`` does not hold the checkpoint against its digests. Images whose intensities lie
    far from those of training are said in one line at the end.
    Raises UserError, before anything is written, where a file would be replaced (but for
    ``overwrite``) or two inputs share a name. A file that cannot be predicted keeps no other from
    it: one UserError names all such files when the rest is written. No file is ever half-written.
    """
    files = each(
        workdir,
        input,
        output,
        step=step,
        tta=tta,
        crf=crf,
        overlay=overlay,
        probabilities=probabilities,
        instances=instances,
        values=values,
        overwrite=overwrite,
        classes=classes,
        verify=verify,
    )
    done = list(files)
    failed = [one.why for one in done if isinstance(one, Failed)]
    if failed:
        raise UserError(f"{len(failed)} of {len(done)} files failed: {'; '.join(failed)}")
    return [one.paths[0] for one in done if isinstance(one, Predicted)]


def each(
    workdir: Workdirs,
    input: str | Path,
    output: str | Path,
    *,
    step: int | None = None,
    tta: bool | None = None,
    crf: DenseCRF | None = None,
    overlay: bool = False,
    probabilities: bool = False,
    instances: bool = False,
    values: Values | None = None,
    overwrite: bool = False,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> Iterator[Predicted | Failed]:
    """``predict``, file by file as they are done; a single file that fails raises at once."""
    opened = ensemble.opened(workdir, step, classes=classes, verify=verify)
    runs = [_otherwise(one, tta, crf) for one in opened]
    experiment = runs[0].experiment
    dataset = experiment.data.dataset
    wanted = Wanted(_values(values, dataset), overlay, probabilities)
    if instances:
        wanted = _with_instances(wanted, experiment)
    suffixes = ["_overlay.png"] * overlay + ["_probabilities.npy"] * probabilities
    numbered = instances or any(not isinstance(_predictor(one), Segment) for one in runs)
    files, folder = inputs(input, output), Path(output)
    _refuse_channels(files, dataset)
    admit(files, folder, dataset.rank, suffixes, numbered=numbered, overwrite=overwrite)
    _say_unprepared(runs)
    unlike = Unlike.to(workdir)
    gives: Gives = ("labels", "probabilities") if wanted.shares else ("labels",)
    network = _network(runs, gives, unlike)
    disk.folder(folder)
    for file, name in files:
        try:
            maps = predicted(file, dataset, network, wanted)
        except UserError as error:
            if Path(input) == file:
                raise
            why = str(error)
            yield Failed(file, why if str(file) in why else f"{file}: {why}")
        else:  # what cannot be written ends all: the next file would not fit the disk either
            yield written(file, maps, folder / name, wanted)
    unlike.say(len(files))


# --- before the first image -----------------------------------------------------------------------


def _values(values: Values | None, dataset: Any) -> tuple[int, ...]:
    """The number that is written for each class."""
    count = dataset.num_classes
    if values == "own":
        masks = reading_of(dataset)
        if masks.colors is not None:
            raise UserError("--values own: the run's masks hold colours, and numbers are written")
        values = (masks.values or range(count))[:count]
    if values is None:
        return tuple(range(count))
    said = ",".join(map(str, values))
    if len(values) != count:
        raise UserError(f"--values {said}: {len(values)} numbers for {count} classes")
    return parse_values(said)


def _with_instances(wanted: Wanted, experiment: Experiment) -> Wanted:
    parts, dataset = experiment.evaluation.instances, experiment.data.dataset
    things = parts.classes(dataset.num_classes, dataset.class_names)
    if not things:
        raise UserError("--instances: no class of the run has objects (evaluation.instances)")
    return dataclasses.replace(wanted, instances=parts, things=things)


def _refuse_channels(files: Sequence[Input], dataset: Any) -> None:
    """Refuse channels in files of their own, each of which would be taken for a grey image."""
    apart = [one.file for one in files if re.search(r"_\d{4}$", one.name.name)]
    if isinstance(dataset, NNUNet) and dataset.channels > 1 and apart:
        raise UserError(
            f"{apart[0]}: one of {dataset.channels} channels in files of their own; predict takes "
            "a file a case: write each as one NIfTI with its channels along a fourth axis"
        )


def _say_unprepared(runs: Sequence[Opened]) -> None:
    for one in runs:
        if one.experiment.data.prepare:
            logging.getLogger("jaxseg").warning(
                f"data.prepare={one.experiment.data.prepare} was applied to the cases of the run "
                "and is not to these images"
            )


# --- the networks ---------------------------------------------------------------------------------


def _otherwise(one: Opened, tta: bool | None, crf: DenseCRF | None) -> Opened:
    """The run with what is asked for instead of what its evaluation says."""
    asked = {"tta": tta, "crf": crf}
    asked: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if crf is not None:
        check_rank(one.experiment.data.dataset.rank)
    evaluation = dataclasses.replace(one.experiment.evaluation, **asked)
    return one._replace(experiment=dataclasses.replace(one.experiment, evaluation=evaluation))


def _predictor(one: Opened) -> Any:
    return one.experiment.recipe.predictor(one.experiment.evaluation)


def _network(runs: Sequence[Opened], gives: Gives, unlike: Unlike) -> Network:
    """A raw image to what the run predicts of it, or to the mean over several runs."""

    def result(number: int, raw: np.ndarray, name: str, gives: Gives) -> CaseResult:
        spacing = images.read_spacing(name, rank=raw.ndim - 1)
        case = runs[number].experiment.data.case(raw, name=name, spacing=spacing)
        unlike.look(number, case["image"], name)
        return _result(runs[number], case, gives)

    def network(raw: np.ndarray, name: str) -> CaseResult:
        if len(runs) == 1:
            return result(0, raw, name, gives)
        shares = [result(n, raw, name, ("probabilities",)) for n in range(len(runs))]
        return ensemble.merged(shares)

    return network


def _result(one: Opened, case: Case, gives: Gives) -> CaseResult:
    """What one run predicts of a case, cut as it says."""
    data, model = one.experiment.data, one.model
    predictor = bounded(_predictor(one), model, case["image"].shape[:-1], data.patch)
    rows = {part: x[None] for part, x in predictor.prepare(model, case).items()}
    given = jax.device_get(run(predictor, model, one.variables, rows, gives))
    return predictor.result(jax.tree.map(lambda x: x[0], given), case)


# --- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """The command; exit code 1 where some files of a folder could not be predicted."""
    options = _parser().parse_args(arguments)
    folders = [Path(folder) for folder in options.workdir]
    values = options.values
    process.cache_compilations()
    begun = time.perf_counter()
    files = each(
        folders,
        options.input,
        options.output,
        step=options.step,
        tta=options.tta,
        crf=crf_of(options.crf),
        overlay=options.overlay,
        probabilities=options.probabilities,
        instances=options.instances,
        values=values if values in (None, "own") else parse_values(values),
        overwrite=options.overwrite,
        classes=classes_for(folders, options.classes),
        verify=not options.unverified,
    )
    count = len(inputs(options.input, options.output))
    ended = list(_with_bar(files, count))
    seconds = time.perf_counter() - begun
    done = [one for one in ended if isinstance(one, Predicted)]
    total = sum(one.images for one in done)
    print(
        f"{len(done)} label maps of {total} images in {options.output}, "
        f"{total / seconds:.2f} images/s with loading and compiling",
        flush=True,
    )
    failed = [one for one in ended if isinstance(one, Failed)]
    if failed:
        print(f"jaxseg: {len(failed)} of {count} files failed:", file=sys.stderr)
        for one in failed:
            print(" ".join(one.why.split()), file=sys.stderr)
        raise SystemExit(1)


def _parser() -> Any:
    parser = command.parser(
        prog="python -m jaxseg.predict",
        description="Write the label map of an image, or of each image in a folder and below: PNG, "
        "of volumes and multi-page TIFF a multi-page TIFF, of NIfTI a NIfTI. Files that cannot be "
        "read are listed at the end, with exit code 1.",
        epilog="example: python -m jaxseg.predict --workdir runs/quickstart --input images "
        "--output predictions --overlay",
    )
    ensemble.add_runs(parser, step="use")
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help=f"file or folder ({' '.join(images.SUFFIXES)}); grey is repeated for a network of "
        "several channels, colours become grey for a network of one",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--tta", action="store_true", default=None, help="average over flips")
    add_crf(parser)
    parser.add_argument(
        "--overlay",
        action="store_true",
        help="also <stem>_overlay.png: prediction over image, of a volume in three planes",
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also <stem>_probabilities.npy: float32, the image's axes and then the classes",
    )
    parser.add_argument(
        "--instances",
        action="store_true",
        help="also <stem>_instances: objects numbered from 1, as evaluation.instances of the run "
        "tells them apart (by default connected parts of a class)",
    )
    parser.add_argument(
        "--values",
        help="what is written for each class, such as 0,255, or `own`: what the masks hold that "
        "the run was trained on (default: the number of the class)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files of the output")
    return parser


def _with_bar(files: Iterator[Predicted | Failed], count: int) -> Iterator[Predicted | Failed]:
    """The files under a progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(
        track(
            files,
            total=count,
            description="predict",
            console=console,
            disable=not console.is_terminal,
        )
    )


if __name__ == "__main__":
    command.run(main)
