"""Where patches lie: at random, on a grid, or centred on a foreground pixel.

Everything is index arithmetic on corners; `crop` then reads the patch and nothing else, so that
from a memory-mapped array a patch costs a patch.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int, Integer, Shaped

from jaxseg.errors import UserError
from jaxseg.types import BATCH_FIELDS, IGNORE, Role

SLAB = 1 << 22
"""Pixels looked at in one piece while a whole label map is scanned."""


def random_corner(
    rng: np.random.Generator, spatial: Sequence[int], patch: Sequence[int]
) -> tuple[int, ...]:
    """A corner, uniform over the patches that lie inside; 0 on an axis shorter than the patch."""
    return tuple(
        int(rng.integers(0, max(n - p, 0) + 1)) for n, p in zip(spatial, patch, strict=True)
    )


def centred_corner(
    point: Sequence[int], spatial: Sequence[int], patch: Sequence[int]
) -> tuple[int, ...]:
    """The patch with ``point`` in its middle, moved inside where it would stick out."""
    axes = zip(point, spatial, patch, strict=True)
    return tuple(min(max(int(at) - p // 2, 0), max(n - p, 0)) for at, n, p in axes)


def grid(spatial: Sequence[int], patch: Sequence[int]) -> Int[np.ndarray, "n rank"]:
    """Corners of the fewest patches that cover the image; the overlap is spread evenly."""
    axes = []
    for n, p in zip(spatial, patch, strict=True):
        count = -(-n // p)
        axes.append(np.round(np.linspace(0, max(n - p, 0), count)).astype(np.int64))
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def crop(
    array: Shaped[np.ndarray, "..."],
    corner: Sequence[int],
    patch: Sequence[int],
    *,
    fill: int | None = None,
) -> Shaped[np.ndarray, "..."]:
    """A copy of one patch; trailing axes (channels) are kept whole.

    An array shorter than the patch is filled up at its end, by reflection if ``fill`` is None.
    """
    box = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
    piece = np.array(array[box])
    missing = [(0, p - n) for p, n in zip(patch, piece.shape[: len(box)], strict=True)]
    if not any(m for _, m in missing):
        return piece
    missing += [(0, 0)] * (piece.ndim - len(box))
    if fill is None:
        return np.pad(piece, missing, mode="reflect")
    return np.pad(piece, missing, constant_values=fill)


OUTSIDE: Mapping[Role, int | None] = {"image": None, "classes": IGNORE, "factor": 0}
"""What fills up an array that is shorter than the patch; None: its own reflection."""


def crop_case(case: dict, corner: Sequence[int], patch: Sequence[int]) -> dict:
    """One patch of every map of a case, filled up by role; what is about the image stays whole.

    Raises UserError for objects: their boxes would no longer be those of the patch.
    """
    piece = {}
    for name, role in BATCH_FIELDS.items():
        if name not in case:
            continue
        value = case[name]
        if role in OUTSIDE:
            piece[name] = crop(value, corner, patch, fill=OUTSIDE[role])
        elif role == "objects" and tuple(case["image"].shape[: len(patch)]) != tuple(patch):
            raise UserError(
                f"data.patch={tuple(patch)}: objects cannot be cut into patches yet; train on "
                "whole images of one size"
            )
        else:
            piece[name] = value
    return piece


def takes_foreground(index: int, share: float) -> bool:
    """Whether the patch with this global index is centred on foreground.

    Of the first n patches ``floor(n * share)`` are, for every n: the share is exact, and the same
    whichever process or worker draws the patch.
    """
    return int((index + 1) * share) > int(index * share)


def foreground(
    label: Integer[np.ndarray, "*spatial"], limit: int = 1024
) -> Int[np.ndarray, "present limit"]:
    """Flat indices of pixels of each foreground class that is present, a row a class.

    Every class but 0 is foreground. A class of more than ``limit`` pixels is represented by that
    many, drawn without replacement, a smaller one by all of its, repeated: 8 KiB a class and case,
    and a draw is two random numbers. One pass over the label map, in slabs.
    """
    rng = np.random.default_rng(0)
    kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for start, slab in slabs(label):
        flat = np.asarray(slab).reshape(-1)
        for k in np.flatnonzero(np.bincount(np.maximum(flat, 0))).tolist():
            if k == 0:
                continue
            at = np.flatnonzero(flat == k) + start
            keys = rng.random(at.size)  # the smallest keys of all are a uniform draw
            if k in kept:
                at, keys = np.append(kept[k][0], at), np.append(kept[k][1], keys)
            if at.size > limit:
                smallest = np.argpartition(keys, limit)[:limit]
                at, keys = at[smallest], keys[smallest]
            kept[k] = (at, keys)
    rows = [np.resize(kept[k][0], limit) for k in sorted(kept)]
    return np.stack(rows).astype(np.int64) if rows else np.zeros((0, limit), np.int64)


def foreground_corner(
    rng: np.random.Generator,
    points: Int[np.ndarray, "present limit"],
    spatial: Sequence[int],
    patch: Sequence[int],
) -> tuple[int, ...]:
    """The patch around a pixel of a uniformly chosen class that is present; else a random one."""
    if not len(points):
        return random_corner(rng, spatial, patch)
    flat = points[rng.integers(len(points)), rng.integers(points.shape[1])]
    return centred_corner([int(i) for i in np.unravel_index(flat, spatial)], spatial, patch)


def slabs(array: Shaped[np.ndarray, "n ..."]) -> Iterator[tuple[int, np.ndarray]]:
    """(flat index of its first element, slab) along the first axis, about SLAB elements each."""
    row = max(array[:1].size, 1)
    rows = max(SLAB // row, 1)
    for start in range(0, len(array), rows):
        yield start * row, array[start : start + rows]
