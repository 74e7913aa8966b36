"""One label map -> one file on disk: PNG, multi-page TIFF, NIfTI. ``images.read_mask`` reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt

from jaxseg import disk
from jaxseg.data.images import suffix
from jaxseg.errors import UserError

TIFF = (".tif", ".tiff")
NIFTI = (".nii", ".nii.gz")

LARGEST = 65535
"""The largest number of a PNG's pixel."""


def parse_values(text: str) -> tuple[int, ...]:
    """``"0,255"``: the number of each class in mask files, of 16 bits and none of them twice."""
    try:
        values = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UserError(f"--values {text}: give a number for each class, such as 0,255") from None
    if min(values) < 0 or max(values) > LARGEST or len(set(values)) < len(values):
        raise UserError(f"--values {text}: give numbers from 0 to {LARGEST}, none of them twice")
    return values


def valued(
    label: Int[np.ndarray, "*spatial"], values: Sequence[int]
) -> UInt[np.ndarray, "*spatial"]:
    """The label map with ``values[k]`` for class k, uint8 where they fit."""
    dtype = np.uint8 if max(values) <= 255 else np.uint16
    return np.asarray(values, dtype)[label]


def ending(file: Path | str, rank: int) -> str:
    """The suffix of the label map, of ``rank`` axes, of an image file."""
    kind = suffix(file)
    return kind if kind in NIFTI else ".tif" if rank == 3 else ".png"


def write_mask(path: Path, label: UInt[np.ndarray, "*spatial"], *, like: Path) -> None:
    """Write the label map, whole or not at all, in the format that ``path`` ends in.

    A NIfTI takes its grid (affine, codes, units, spacing) from ``like``.
    """
    with disk.replacing(path) as beside:
        if suffix(path) in NIFTI:
            _nifti(beside, label, like)
        elif suffix(path) in TIFF:
            import tifffile

            axes = {"axes": "ZYX"[-label.ndim :]}
            tifffile.imwrite(
                beside, label, photometric="minisblack", compression="zlib", metadata=axes
            )
        else:
            from PIL import Image

            Image.fromarray(label).save(beside)


def _nifti(path: Path, label: np.ndarray, like: Path) -> None:
    import nibabel

    source: Any = nibabel.load(like)  # type: ignore[attr-defined]
    header = source.header.copy()
    header.set_data_dtype(label.dtype)
    header["cal_min"] = header["cal_max"] = 0  # the display range was that of the intensities
    if label.ndim == 2 and len(source.shape) == 3:
        label = label[..., None]
    written = type(source)(label, source.affine, header)
    written.header.set_slope_inter(1, 0)
    written.to_filename(path)
