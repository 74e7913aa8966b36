"""What is refused, wherever an image or a label enters: one line that names the file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer, Num, Shaped

from jaxseg.errors import UserError
from jaxseg.types import BATCH_FIELDS, IGNORE, Objects

LARGEST = np.iinfo(np.int32).max
"""The largest number of an object that a batch can hold."""


def check_finite(image: Shaped[np.ndarray, "*spatial c"], name: str) -> None:
    """Refuses NaN and infinity; integer images cannot hold them and cost nothing."""
    if not np.issubdtype(image.dtype, np.floating):
        return
    bad = image.size - int(np.count_nonzero(np.isfinite(image)))
    if bad:
        raise UserError(f"{name}: {bad} pixels are NaN or infinite; replace them")


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


def check_case(
    case: Mapping[str, Any], *, rank: int, channels: int, num_classes: int, files: Sequence[str]
) -> None:
    """Refuses a whole case by the roles of its fields: their sizes, dtypes and values.

    ``files`` are what an error about the image and (last) about the label names.
    """
    image = case["image"]
    _check_array("image", image, "buif", files[0])
    if image.ndim != rank + 1:
        raise UserError(
            f"{files[0]}: an image of {image.ndim} axes; the data set's rank={rank} has "
            f"{rank + 1}, the channels last"
        )
    if image.shape[-1] != channels:
        raise UserError(
            f"{files[0]}: {image.shape[-1]} channels where the data set says {channels}"
        )
    if 0 in image.shape:
        raise UserError(f"{files[0]}: an image of size {image.shape[:-1]} is empty")
    for name, value in case.items():
        role = BATCH_FIELDS.get(name)
        if role in ("classes", "factor"):
            _check_array(name, value, "buif", files[-1])
            _check_size(name, value.shape, image.shape[:-1], files)
        elif role == "objects":
            check_objects(value, num_classes, files[-1])
        elif role == "row":
            _check_row(name, value, num_classes, files[-1])
    check_pixels(case, num_classes=num_classes, files=files)


def check_pixels(case: Mapping[str, Any], *, num_classes: int, files: Sequence[str]) -> None:
    """Refuses a case, or a patch of one, by its values.

    Memory-mapped arrays are passed over: reading them whole would cost what mapping them saves,
    so their patches come here instead, as plain arrays.
    """
    for name, value in case.items():
        role = BATCH_FIELDS.get(name)
        if isinstance(value, np.memmap) or role not in ("image", "classes", "factor"):
            continue
        if role == "image":
            check_finite(value, files[0])
        elif role == "factor":
            check_finite(value, f"{files[-1]}: {name}")
        elif name == "label":
            check_labels(integral(value, files[-1]), num_classes, files[-1])
        else:
            _check_numbers(f"{files[-1]}: {name}", value)


def check_objects(objects: Any, num_classes: int, name: str) -> None:
    """Refuses objects of one image whose fields do not belong together, or whose boxes are none."""
    if not isinstance(objects, Objects):
        raise UserError(f"{name}: objects are {type(objects).__name__}; give jaxseg.types.Objects")
    boxes = np.asarray(objects.boxes, float)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UserError(f"{name}: objects.boxes of {size(boxes.shape)}; give n x 4, y0 x0 y1 x1")
    for field, value in objects._asdict().items():
        if value is not None and np.shape(value)[:1] != boxes.shape[:1]:
            raise UserError(
                f"{name}: objects.{field} is of {size(np.shape(value))}, of {len(boxes)} boxes"
            )
    if not (np.isfinite(boxes).all() and (boxes[:, :2] <= boxes[:, 2:]).all()):
        raise UserError(f"{name}: objects.boxes holds one that is not y0 <= y1, x0 <= x1")
    classes = np.asarray(objects.classes)
    wrong = np.unique(classes[~np.isin(classes, np.arange(IGNORE, num_classes))])
    if wrong.size:
        raise UserError(
            f"{name}: objects.classes holds {few(wrong)} with num_classes={num_classes}"
        )


def _check_array(field: str, value: Any, kinds: str, name: str) -> None:
    if not isinstance(value, np.ndarray):
        raise UserError(f"{name}: {field} is {type(value).__name__}; give a numpy array")
    if value.dtype.kind not in kinds:
        raise UserError(f"{name}: {field} holds {value.dtype}; give integers or real numbers")


def _check_size(
    field: str, shape: tuple[int, ...], spatial: tuple[int, ...], files: Sequence[str]
) -> None:
    if shape != spatial:
        what = "the mask" if field == "label" else field
        raise UserError(
            f"{files[-1]}: {what} is {size(shape)} and its image {files[0]} is {size(spatial)}; "
            "they must be equal"
        )


def _check_row(field: str, value: Any, num_classes: int, name: str) -> None:
    """Refuses what says something else about the image as a whole than its field stands for."""
    value = np.asarray(value)
    if field == "present" and (value.dtype != bool or value.shape != (num_classes,)):
        raise UserError(
            f"{name}: present is {value.dtype} [{size(value.shape)}]; give bool [{num_classes}], "
            "whether each class occurs"
        )
    if field == "domain" and (value.dtype.kind not in "iu" or value.shape != ()):
        raise UserError(f"{name}: domain={value}; give one whole number")


def _check_numbers(name: str, value: np.ndarray) -> None:
    whole = integral(value, name)
    if whole.size and not (IGNORE <= whole.min() and whole.max() <= LARGEST):
        raise UserError(f"{name} holds numbers outside [{IGNORE}, 2^31)")


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
    """The first values, and how many there are if more than these: ``1, 2, 3, ... (9 in all)``."""
    shown = ", ".join(str(v) for v in list(values)[:limit])
    return shown if len(values) <= limit else f"{shown}, ... ({len(values)} in all)"


def size(shape: Sequence[int]) -> str:
    """A size as text: ``512 x 512``."""
    return " x ".join(str(n) for n in shape)
