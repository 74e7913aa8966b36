"""One image file predicted: its images read one by one, and what is written of them.

What is written for each file, named by its stem:

    .png            uint8 (uint16 where a number is above 255), for a 2-D image
    .tif            the same, a page a slice, for a volume and for a multi-page TIFF
    .nii, .nii.gz   the same, with the affine of the input, for NIfTI
    _instances      numbers of objects in each image, from 1; uint16, or uint32 beyond 65535
    _probabilities.npy, _overlay.png
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped, UInt8

from jaxseg import disk, report
from jaxseg.data import images
from jaxseg.data.masks import LARGEST, NIFTI, TIFF, ending, valued, write_mask
from jaxseg.errors import UserError
from jaxseg.metrics import painted
from jaxseg.objects import Instances
from jaxseg.predictor import CaseResult

GAP = 2
"""Pixels between the planes of a volume."""

Network = Callable[[np.ndarray, str], CaseResult]
"""A raw image and its name for errors -> what is predicted of it."""


@dataclass(frozen=True)
class Wanted:
    """What is written of a file beside its label map, and the numbers that stand there for classes.

    ``instances`` says how objects of the classes ``things`` are told apart (None: no objects, but
    those that a network finds itself).
    """

    values: tuple[int, ...]
    overlay: bool = False
    probabilities: bool = False
    instances: Instances | None = None
    things: tuple[int, ...] = ()

    @property
    def shares(self) -> bool:
        """Whether probabilities are needed of the network."""
        parts = self.instances
        return self.probabilities or (parts is not None and parts.boundary is not None)


class Predicted(NamedTuple):
    """What one file gave: the label map's path first, and how many images were in the file."""

    paths: tuple[Path, ...]
    images: int


class Maps(NamedTuple):
    """The images of a file and what was predicted of each, stacked in the file along ``axis``."""

    axis: int | None
    raws: list[np.ndarray]
    labels: list[np.ndarray]
    shares: list[np.ndarray]
    numbers: list[np.ndarray]

    def whole(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        """The maps of all images as the file's one array."""
        return maps[0] if self.axis is None else np.stack(maps, self.axis)


def predicted(file: Path, dataset: Any, network: Network, wanted: Wanted) -> Maps:
    """Read and predict all images of a file; UserError where one of them cannot be."""
    axis, raws = _read(file, dataset.rank, dataset.channels)
    maps = Maps(axis, [], [], [], [])
    for raw in raws:
        result = network(raw, str(file))
        assert result.labels is not None
        maps.labels.append(result.labels)
        if wanted.probabilities and result.probabilities is not None:
            maps.shares.append(result.probabilities)
        numbers = _numbers(result, wanted)
        if numbers is not None:
            maps.numbers.append(numbers)
        if wanted.overlay:
            maps.raws.append(raw)
    return maps


def _numbers(result: CaseResult, wanted: Wanted) -> Int[np.ndarray, "*spatial"] | None:
    """The number of each pixel's object, where objects were found or are asked for."""
    assert result.labels is not None
    if result.objects is not None:
        return painted(result.objects, result.labels).numbers
    parts = wanted.instances
    if parts is None:
        return None
    shares, rim = result.probabilities, parts.boundary
    height = None if rim is None or shares is None else shares[..., rim]
    return parts.found(result.labels, wanted.things, height)[1]


def written(file: Path, maps: Maps, target: Path, wanted: Wanted) -> Predicted:
    """Write what was predicted of a file to ``target`` and its like, each whole or not at all.

    ``target`` has no suffix yet. The label map comes last: where it is, all is there.
    """
    disk.folder(target.parent)
    labels = maps.whole(maps.labels)
    kind = ending(file, labels.ndim)
    paths = [_beside(target, kind)]
    if maps.shares:
        paths.append(_beside(target, "_probabilities.npy"))
        with disk.replacing(paths[-1]) as beside:
            np.save(beside, maps.whole(maps.shares))
    if maps.numbers:
        paths.append(_beside(target, f"_instances{kind}"))
        _write_numbers(paths[-1], maps.whole(maps.numbers), like=file)
    if wanted.overlay:
        paths.append(_beside(target, "_overlay.png"))
        _write_overlay(paths[-1], file, maps)
    write_mask(paths[0], valued(labels, wanted.values), like=file)
    return Predicted(tuple(paths), len(maps.labels))


def _beside(target: Path, ends: str) -> Path:
    """``target`` with ``ends`` appended: ``with_suffix`` would replace ``.v2`` of ``scan.v2``."""
    return target.with_name(target.name + ends)


def endings(file: Path, rank: int) -> tuple[str, ...]:
    """What the label map may end in: whether a TIFF is a stack shows when it is opened."""
    single = ending(file, rank)
    return (single, ending(file, 3)) if images.suffix(file) in TIFF else (single,)


# --- what is in a file ----------------------------------------------------------------------------


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


def _write_numbers(path: Path, numbers: Int[np.ndarray, "*spatial"], *, like: Path) -> None:
    many = int(numbers.max(initial=0)) > LARGEST
    if many and images.suffix(path) == ".png":
        raise UserError(f"{path}: {numbers.max()} objects, and a PNG counts to {LARGEST}")
    write_mask(path, numbers.astype(np.uint32 if many else np.uint16), like=like)


def _write_overlay(path: Path, file: Path, maps: Maps) -> None:
    """Draw the middle image of a stack, or three planes of a volume."""
    from PIL import Image

    nifti = images.suffix(file) in NIFTI
    if nifti and maps.axis is not None:  # slices of one volume
        image, label = maps.whole(maps.raws), maps.whole(maps.labels)
    else:
        image, label = (one[len(one) // 2] for one in (maps.raws, maps.labels))
    if label.ndim == 3 and nifti:
        picture = planes(*upright(image, label, file))
    else:
        picture = planes(image, label) if label.ndim == 3 else _overlay(image, label)
    with disk.replacing(path) as beside:
        Image.fromarray(picture).save(beside)


def planes(
    image: Shaped[np.ndarray, "d h w c"],
    label: Int[np.ndarray, "d h w"],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Axial, coronal and sagittal plane side by side, in proportion to the ``spacing``.

    They meet in the middle of what is predicted, the median along each axis of all voxels that are
    not of class 0, or in that of the volume where there is none.
    """
    shown = []
    for axis, at in enumerate(_middle(label)):
        plane = _overlay(image.take(at, axis=axis), label.take(at, axis=axis))
        rows, columns = (s / min(spacing) for a, s in enumerate(spacing) if a != axis)
        shown.append(plane[_nearest(len(plane), rows)][:, _nearest(plane.shape[1], columns)])
    height = max(len(plane) for plane in shown)
    gap = np.zeros((height, GAP, 3), np.uint8)
    axial, coronal, sagittal = (
        np.pad(plane, ((0, height - len(plane)), (0, 0), (0, 0))) for plane in shown
    )
    return np.concatenate([axial, gap, coronal, gap, sagittal], axis=1)


def _nearest(count: int, stretch: float) -> Int[np.ndarray, " n"]:
    """The row that is shown in each row of a picture ``stretch`` times as high."""
    rows = (np.arange(round(count * stretch)) + 0.5) / stretch
    return np.minimum(rows.astype(int), count - 1)


def _middle(label: Int[np.ndarray, "d h w"]) -> list[int]:
    there = label != 0
    if not there.any():
        return [n // 2 for n in label.shape]
    counts = [there.sum(tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    return [int(np.searchsorted(np.cumsum(n), n.sum() / 2)) for n in counts]


class Volume(NamedTuple):
    """What `planes` draws."""

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, ...]


def upright(
    image: Shaped[np.ndarray, "x y z c"], label: Int[np.ndarray, "x y z"], file: Path
) -> Volume:
    """A NIfTI's voxels by its affine: from the head down, from front to back, from left to right.

    As they are stored, where the affine does not say which axis is which.
    """
    import nibabel

    affine: Any = nibabel.load(file).affine  # type: ignore[attr-defined]
    turn, turned = nibabel.orientations.io_orientation(affine), [image, label]
    spacing = np.array(images.read_spacing(file, rank=3) or (1.0, 1.0, 1.0))
    if np.isfinite(turn).all():
        turned = [nibabel.orientations.apply_orientation(x, turn) for x in turned]
        spacing = spacing[np.argsort(turn[:, 0])]
    image, label = (np.swapaxes(x, 0, 2)[::-1, ::-1] for x in turned)
    return Volume(image, label, tuple(spacing[::-1].tolist()))


def _overlay(image: np.ndarray, label: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    return report.overlay(image.astype(np.float32), label.astype(np.int32))
