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

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxseg import checkpoint, command, config, disk, inference, process, report
from jaxseg.config import Experiment
from jaxseg.data import images
from jaxseg.data.cases import moments, normalize
from jaxseg.data.checks import check_case
from jaxseg.data.masks import NIFTI, TIFF, ending, write_mask
from jaxseg.errors import UserError
from jaxseg.inference import Tiles


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
) -> list[Path]:
    """Label maps of a file, or of all images directly in a folder; their paths.

    Images are normalised and cut into windows as the run's experiment says; ``tta=None`` as well.
    Where it says whole images, those beyond two million pixels are cut all the same: a 4096 x 4096
    image then fits where it would not at once.
    ``probabilities`` also writes ``<stem>_probabilities.npy``, float32 ``[*spatial k]``, and
    ``overlay`` the prediction drawn over the image (of a stack or volume: its middle slice).
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
) -> Iterator[Predicted]:
    """``predict``, file by file as they are done."""
    experiment = config.read_json(Path(workdir) / checkpoint.EXPERIMENT)
    suffixes = ["_overlay.png"] * overlay + ["_probabilities.npy"] * probabilities
    files, folder = inputs(input), Path(output)
    _admit(files, folder, experiment.data.dataset.rank, suffixes, overwrite=overwrite)
    model, variables = checkpoint.load(workdir, step)
    evaluation = experiment.evaluation
    tiles = Tiles(
        window=evaluation.window,
        overlap=evaluation.overlap,
        window_batch=evaluation.window_batch,
        tta=evaluation.tta if tta is None else tta,
    )
    labels_of = functools.partial(
        _labels_and_probabilities,
        model,
        variables,
        tiles,
        patch=experiment.data.patch,
        probabilities=probabilities,
    )
    disk.folder(folder)
    for file in files:
        yield _one(file, folder, experiment, labels_of, overlay=overlay)


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

Network = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""A normalised image -> its label map, and its probabilities if they are wanted."""


def _one(
    file: Path, folder: Path, experiment: Experiment, network: Network, *, overlay: bool
) -> Predicted:
    dataset, stem = experiment.data.dataset, images.stem(file)
    dtype = np.uint8 if dataset.num_classes <= 255 else np.uint16
    axis, raws = _read(file, dataset.rank, dataset.channels)
    shown, labels, shares = [], [], []
    for raw in raws:
        label, share = network(_normalized(raw, experiment, file))
        labels.append(label.astype(dtype))
        if share is not None:
            shares.append(share)
        if overlay:
            shown.append(raw)
    whole = labels[0] if axis is None else np.stack(labels, axis)
    paths = [folder / (stem + ending(file, whole.ndim))]
    if shares:
        paths.append(folder / f"{stem}_probabilities.npy")
        with disk.replacing(paths[-1]) as beside:
            np.save(beside, shares[0] if axis is None else np.stack(shares, axis))
    if overlay:
        paths.append(folder / f"{stem}_overlay.png")
        along = 2 if images.suffix(file) in NIFTI else 0  # where the slices of a volume lie
        _write_overlay(paths[-1], shown, labels, along)
    write_mask(paths[0], whole, like=file)  # last: where it is, all is there
    return Predicted(tuple(paths), len(labels))


def _read(
    file: Path, rank: int, channels: int
) -> tuple[int | None, Iterator[Shaped[np.ndarray, "*spatial c"]]]:
    """The raw images of a file, one at a time, and the axis along which they lie stacked in it."""
    if rank == 2 and images.suffix(file) in NIFTI and _holds_slices(file, channels):
        volume = images.read_image(file, rank=3, channels=channels)
        return 2, (volume[:, :, z] for z in range(volume.shape[2]))
    count = images.pages(file) if rank == 2 else None
    if count is None:
        return None, iter([images.read_image(file, rank=rank, channels=channels)])
    pages = (images.read_image(file, channels=channels, page=page) for page in range(count))
    return 0, pages


def _holds_slices(file: Path, channels: int) -> bool:
    """Whether a third axis is slices; of the network's number of channels, it is channels."""
    import nibabel

    try:
        shape = nibabel.load(file).shape  # type: ignore[attr-defined]
    except Exception:
        return False  # who reads it next says what is wrong with it
    return len(shape) >= 3 and shape[2] > 1 and (channels == 1 or shape[2] != channels)


def _normalized(
    raw: Shaped[np.ndarray, "*spatial c"], experiment: Experiment, file: Path
) -> Float[np.ndarray, "*spatial c"]:
    """As the run's data are: the same checks, the same scaling."""
    data, raw = experiment.data, np.asarray(raw)  # a memory map would escape the checks
    check_case(
        {"image": raw},
        channels=data.dataset.channels,
        num_classes=data.dataset.num_classes,
        files=(str(file),),
    )
    return normalize(raw, moments(raw) if data.normalize == "zscore" else None)


def _labels_and_probabilities(
    model: Any,
    variables: Any,
    tiles: Tiles,
    image: np.ndarray,
    *,
    patch: tuple[int, ...] | None,
    probabilities: bool,
) -> tuple[Int[np.ndarray, "*spatial"], Float[np.ndarray, "*spatial k"] | None]:
    tiles = inference.affordable(model, image.shape[:-1], tiles, least=patch)
    if not probabilities:  # only labels leave the device
        labels = inference.segment(
            model,
            variables,
            image,
            window=tiles.window,
            overlap=tiles.overlap,
            tta=tiles.tta,
            window_batch=tiles.window_batch,
        )
        return labels, None
    logits = inference.logits(model, variables, image[None], tiles=tiles)[0]
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return logits.argmax(-1), shares / shares.sum(-1, keepdims=True)


# --- what is written beside the label map ---------------------------------------------------------


def _write_overlay(
    path: Path, shown: Sequence[np.ndarray], labels: Sequence[np.ndarray], along: int
) -> None:
    """Of the middle image of a stack, of the middle slice of a volume."""
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
    parser.add_argument("--workdir", type=Path, required=True, help="folder of the run")
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
    parser.add_argument("--step", type=int, help="checkpoint to use (default: the best)")
    parser.add_argument("--overwrite", action="store_true", help="replace files of the output")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
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
    """With a progress bar on stderr, where that is a terminal."""
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
