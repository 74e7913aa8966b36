"""Label maps of image files: ``python -m jaxseg.predict --workdir W --input I --output O``.

What is written for each file, named by its stem:

    .png            uint8 (uint16 above 255 classes), for a 2-D image
    .tif            the same, a page a slice, for a volume and for a multi-page TIFF
    .nii, .nii.gz   the same, with the affine of the input, for NIfTI
    _probabilities.npy, _overlay.png    if asked for

A network for 2-D images predicts multi-page TIFF page by page and NIfTI volumes slice by slice
along their last axis. A grey file is repeated to as many channels as the network has; three colours
become grey (ITU-R 601 luma) for a network of one channel.
"""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Shaped

from jaxseg import checkpoint, command, disk, process, report
from jaxseg.data import images
from jaxseg.data.masks import NIFTI, TIFF, ending, write_mask
from jaxseg.errors import UserError
from jaxseg.experiment import Experiment
from jaxseg.metrics import painted
from jaxseg.predictor import CaseResult, Gives, Predictor, bounded, run
from jaxseg.workdir import classes_for


class Predicted(NamedTuple):
    """What one file gave: the label map's path first, and how many images were in the file."""

    paths: tuple[Path, ...]
    images: int


def predict(
    workdir: str | Path,
    input: str | Path,
    output: str | Path,
    *,
    step: int | None = None,
    tta: bool | None = None,
    overlay: bool = False,
    probabilities: bool = False,
    overwrite: bool = False,
    classes: Iterable[type] = (),
) -> list[Path]:
    """Label maps of a file, or of all images directly in a folder; their paths.

    Images are normalised and cut into windows as the run's experiment says; ``tta=None`` as well.
    Where it says whole images, those beyond two million pixels are cut all the same: a 4096 x 4096
    image then fits where it would not at once.
    ``probabilities`` also writes ``<stem>_probabilities.npy``, float32 ``[*spatial k]``, and
    ``overlay`` the prediction drawn over the image (of a stack or volume: its middle slice). A
    network that finds objects also leaves ``<stem>_instances``, their numbers from 1 up.
    ``classes`` are the run's own classes.
    Raises UserError, before anything is written, where a file would be replaced (but for
    ``overwrite``) or two inputs share a stem; later, where an input cannot be read: what was
    written before stays. No file is ever half-written.
    """
    files = each(
        workdir,
        input,
        output,
        step=step,
        tta=tta,
        overlay=overlay,
        probabilities=probabilities,
        overwrite=overwrite,
        classes=classes,
    )
    return [predicted.paths[0] for predicted in files]


def each(
    workdir: str | Path,
    input: str | Path,
    output: str | Path,
    *,
    step: int | None = None,
    tta: bool | None = None,
    overlay: bool = False,
    probabilities: bool = False,
    overwrite: bool = False,
    classes: Iterable[type] = (),
) -> Iterator[Predicted]:
    """``predict``, file by file as they are done."""
    experiment, _, model, variables = checkpoint.opened(workdir, step, classes=classes)
    if experiment.data.prepare:
        logging.getLogger("jaxseg").warning(
            f"data.prepare={experiment.data.prepare} was applied to the cases of the run and is "
            "not to these images"
        )
    suffixes = ["_overlay.png"] * overlay + ["_probabilities.npy"] * probabilities
    files, folder = inputs(input), Path(output)
    _admit(files, folder, experiment.data.dataset.rank, suffixes, overwrite=overwrite)
    evaluation = experiment.evaluation
    if tta is not None:
        evaluation = dataclasses.replace(evaluation, tta=tta)
    gives: Gives = ("labels", "probabilities") if probabilities else ("labels",)
    network = functools.partial(
        _predicted,
        experiment.recipe.predictor(evaluation),
        model,
        variables,
        gives,
        experiment.data.patch,
    )
    disk.folder(folder)
    for file in files:
        yield _one(file, folder, experiment, network, overlay=overlay)


def inputs(path: str | Path) -> list[Path]:
    """The file itself, or the images in the folder, by name."""
    path = Path(path)
    if path.is_dir():
        return images.list_images(path)
    if not path.exists():
        raise UserError(f"--input {path}: no such file or folder")
    if images.suffix(path) not in images.SUFFIXES:
        raise UserError(f"--input {path}: not an image ({' '.join(images.SUFFIXES)})")
    return [path]


# --- before the first image -----------------------------------------------------------------------


def _admit(
    files: Sequence[Path], folder: Path, rank: int, suffixes: Sequence[str], *, overwrite: bool
) -> None:
    """Refuse inputs that would write over one another, over an input, or over older output."""
    owner: dict[str, Path] = {}
    for file in files:
        for added in ("", *(images.stem(suffix) for suffix in suffixes)):
            other = owner.setdefault(images.stem(file) + added, file)
            if other != file:
                raise UserError(
                    f"{other} and {file} would be written to the same name; rename one of them"
                )
    sources = {file.resolve() for file in files}
    planned = [
        folder / (images.stem(file) + added)
        for file in files
        for added in (*_suffixes(file, rank), *suffixes)
    ]
    existing = [path for path in planned if path.exists()]
    for path in existing:
        if path.resolve() in sources:
            raise UserError(f"--output {folder}: {path} is an input; name another folder")
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UserError(
            f"{existing[0]}{more} would be replaced; name another --output, or say --overwrite"
        )


def _suffixes(file: Path, rank: int) -> tuple[str, ...]:
    """What the label map may end in: whether a TIFF is a stack shows when it is opened."""
    single = ending(file, rank)
    return (single, ending(file, 3)) if images.suffix(file) in TIFF else (single,)


# --- one file -------------------------------------------------------------------------------------

Network = Callable[[np.ndarray], CaseResult]
"""A normalised image -> what is predicted of it."""


def _predicted(
    predictor: Predictor,
    model: Any,
    variables: Any,
    gives: Gives,
    patch: tuple[int, ...] | None,
    image: np.ndarray,
) -> CaseResult:
    case = {"image": image}
    predictor = bounded(predictor, model, image.shape[:-1], patch)
    rows = {name: x[None] for name, x in predictor.prepare(model, case).items()}
    given = jax.device_get(run(predictor, model, variables, rows, gives))
    return predictor.result(jax.tree.map(lambda x: x[0], given), case)


def _one(
    file: Path, folder: Path, experiment: Experiment, network: Network, *, overlay: bool
) -> Predicted:
    dataset, stem = experiment.data.dataset, images.stem(file)
    dtype = np.uint8 if dataset.num_classes <= 255 else np.uint16
    axis, raws = _read(file, dataset.rank, dataset.channels)
    shown, labels, shares, numbers = [], [], [], []
    for raw in raws:
        result = network(experiment.data.image(raw, name=str(file)))
        assert result.labels is not None
        labels.append(result.labels.astype(dtype))
        if result.probabilities is not None:
            shares.append(result.probabilities)
        if result.objects is not None:
            numbers.append(painted(result.objects, result.labels).numbers.astype(np.uint16))
        if overlay:
            shown.append(raw)

    def whole(maps: list[np.ndarray]) -> np.ndarray:
        return maps[0] if axis is None else np.stack(maps, axis)

    kind = ending(file, whole(labels).ndim)
    paths = [folder / (stem + kind)]
    if shares:
        paths.append(folder / f"{stem}_probabilities.npy")
        with disk.replacing(paths[-1]) as beside:
            np.save(beside, whole(shares))
    if numbers:
        paths.append(folder / f"{stem}_instances{kind}")
        write_mask(paths[-1], whole(numbers), like=file)
    if overlay:
        paths.append(folder / f"{stem}_overlay.png")
        along = 2 if images.suffix(file) in NIFTI else 0  # where the slices of a volume lie
        _write_overlay(paths[-1], shown, labels, along)
    write_mask(paths[0], whole(labels), like=file)  # last: where it is, all is there
    return Predicted(tuple(paths), len(labels))


def _read(
    file: Path, rank: int, channels: int
) -> tuple[int | None, Iterator[Shaped[np.ndarray, "*spatial c"]]]:
    """The raw images of a file, one at a time, and the axis along which they lie stacked in it."""
    if rank == 2 and images.suffix(file) in NIFTI and _holds_slices(file):
        volume = images.read_image(file, rank=3, channels=channels)
        return 2, (volume[:, :, z] for z in range(volume.shape[2]))
    count = images.pages(file) if rank == 2 else None
    if count is None:
        return None, iter([images.read_image(file, rank=rank, channels=channels)])
    pages = (images.read_image(file, channels=channels, page=page) for page in range(count))
    return 0, pages


def _holds_slices(file: Path) -> bool:
    """Whether a third axis is slices: it is space, whatever its length."""
    import nibabel

    try:
        shape = nibabel.load(file).shape  # type: ignore[attr-defined]
    except Exception:
        return False  # who reads it next says what is wrong with it
    return len(shape) >= 3 and shape[2] > 1


# --- what is written beside the label map ---------------------------------------------------------


def _write_overlay(
    path: Path, shown: Sequence[np.ndarray], labels: Sequence[np.ndarray], along: int
) -> None:
    """Draw the middle image of a stack, the middle slice of a volume."""
    from PIL import Image

    image, label = shown[len(shown) // 2], labels[len(labels) // 2]
    if label.ndim == 3:
        at = label.shape[along] // 2
        image, label = image.take(at, axis=along), label.take(at, axis=along)
    with disk.replacing(path) as beside:
        Image.fromarray(report.overlay(image.astype(np.float32), label.astype(np.int32))).save(
            beside
        )


# --- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.predict",
        description="Write the label map of an image, or of each image in a folder: PNG, of "
        "volumes and multi-page TIFF a multi-page TIFF, of NIfTI a NIfTI.",
        epilog="example: python -m jaxseg.predict --workdir runs/quickstart --input images "
        "--output predictions --overlay",
    )
    command.of_a_run(parser, step="use")
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help=f"file or folder ({' '.join(images.SUFFIXES)}); grey is repeated for a network of "
        "several channels, colours become grey for a network of one",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--tta", action="store_true", default=None, help="average over flips")
    parser.add_argument(
        "--overlay", action="store_true", help="also <stem>_overlay.png: prediction over image"
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also <stem>_probabilities.npy: float32, the image's axes and then the classes",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files of the output")
    options = parser.parse_args(arguments)
    process.cache_compilations()
    begun = time.perf_counter()
    files = each(
        options.workdir,
        options.input,
        options.output,
        step=options.step,
        tta=options.tta,
        overlay=options.overlay,
        probabilities=options.probabilities,
        overwrite=options.overwrite,
        classes=classes_for(options.workdir, options.classes),
    )
    count = len(inputs(options.input))
    done = list(_with_bar(files, count))
    seconds = time.perf_counter() - begun
    total = sum(predicted.images for predicted in done)
    print(
        f"{len(done)} label maps of {total} images in {options.output}, "
        f"{total / seconds:.2f} images/s with loading and compiling"
    )


def _with_bar(files: Iterator[Predicted], count: int) -> Iterator[Predicted]:
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
