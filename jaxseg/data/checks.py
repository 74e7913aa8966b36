"""What is refused, wherever an image or a label enters: one line that names the file."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer, Num, Shaped

from jaxseg.errors import UserError
from jaxseg.types import IGNORE


def check_finite(image: Shaped[np.ndarray, "*spatial c"], name: str) -> None:
    """Refuses NaN and infinity; integer images cannot hold them and cost nothing."""
    if not np.issubdtype(image.dtype, np.floating):
        return
    bad = image.size - int(np.count_nonzero(np.isfinite(image)))
    if bad:
        raise UserError(f"{name}: {bad} pixels are NaN or infinite; replace them before training")


def check_labels(label: Num[np.ndarray, "*spatial"], num_classes: int, name: str) -> None:
    """Refuses what is neither a class in ``[0, num_classes)`` nor IGNORE."""
    if not label.size:
        return
    if label.min() >= IGNORE and label.max() < num_classes:
        return
    bad = np.unique(label[(label < IGNORE) | (label >= num_classes)])
    raise UserError(
        f"{name}: label values {few(bad)} with num_classes={num_classes}; "
        "map them with the data set's `values` or `ignore`, or raise num_classes"
    )


def check_case(case: dict, *, channels: int, num_classes: int, files: Sequence[str]) -> None:
    """Refuses a whole case by its shapes: image against label, channels, channel axis."""
    image, label = case["image"], case.get("label")
    if image.shape[-1] != channels:
        raise UserError(
            f"{files[0]}: {image.shape[-1]} channels where the data set says {channels}"
        )
    if 0 in image.shape:
        raise UserError(f"{files[0]}: an image of size {image.shape[:-1]} is empty")
    if label is not None and label.shape != image.shape[:-1]:
        raise UserError(
            f"{files[-1]}: the mask is {size(label.shape)} and its image {files[0]} is "
            f"{size(image.shape[:-1])}; they must be equal"
        )
    check_pixels(case, num_classes=num_classes, files=files)


def check_pixels(case: dict, *, num_classes: int, files: Sequence[str]) -> None:
    """Refuses a case, or a patch of one, by its values.

    Memory-mapped arrays are passed over: reading them whole would cost what mapping them saves,
    so their patches come here instead, as plain arrays.
    """
    if not isinstance(case["image"], np.memmap):
        check_finite(case["image"], files[0])
    label = case.get("label")
    if label is not None and not isinstance(label, np.memmap):
        check_labels(label, num_classes, files[-1])


def integral(mask: Shaped[np.ndarray, "..."], name: str) -> Integer[np.ndarray, "..."]:
    """A mask that some tool stored as float, as integers; refuses fractions."""
    if mask.dtype == bool:
        return mask.astype(np.uint8)
    if np.issubdtype(mask.dtype, np.integer):
        return mask
    whole = np.rint(mask)
    if not np.array_equal(whole, mask):
        raise UserError(f"{name}: the mask holds fractions, so it is no label map")
    return whole.astype(np.int64)


def few(values: Sequence | np.ndarray, limit: int = 6) -> str:
    """``1, 2, 3, ... (9 in all)``."""
    shown = ", ".join(str(v) for v in list(values)[:limit])
    return shown if len(values) <= limit else f"{shown}, ... ({len(values)} in all)"


def size(shape: Sequence[int]) -> str:
    """``512 x 512``."""
    return " x ".join(str(n) for n in shape)
