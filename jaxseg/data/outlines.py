"""What COCO calls a segmentation, polygons or run lengths, as a mask of pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from jaxseg.data.checks import size
from jaxseg.errors import UserError


def filled(outline: Any, shape: tuple[int, int], here: str) -> Bool[np.ndarray, "h w"]:
    """The pixels within polygons ``[[x0, y0, x1, y1, ...], ...]``, or those of run lengths.

    Polygons need pycocotools, whose rule says which pixels of the rim belong. ``here`` begins the
    UserError about an outline that is none.
    """
    if isinstance(outline, Mapping):
        return _unpacked(outline, shape, here)
    if not isinstance(outline, list) or not outline:
        raise UserError(f"{here}: has no segmentation to draw; leave it out, or give it one")
    for polygon in outline:
        numbers = isinstance(polygon, list) and all(type(x) in (int, float) for x in polygon)
        if not numbers or len(polygon) < 6 or len(polygon) % 2 or not np.isfinite(polygon).all():
            raise UserError(f"{here}: a polygon is x and y of three corners or more")
        if np.abs(polygon).max() > 2 * max(shape):  # its rim would be followed pixel by pixel
            raise UserError(f"{here}: a polygon far outside of its image of {size(shape)}")
    from pycocotools import mask

    polygons: Any = [[float(x) for x in one] for one in outline]
    runs: Any = mask.merge(mask.frPyObjects(polygons, *shape))
    return _unpacked({**runs, "counts": runs["counts"].decode()}, shape, here)


def _unpacked(runs: Mapping, shape: tuple[int, int], here: str) -> Bool[np.ndarray, "h w"]:
    """Run lengths down the columns, off and on by turns: a list, or a string that packs it."""
    given, stated = runs.get("counts"), runs.get("size")
    if stated != list(shape):
        raise UserError(f"{here}: run lengths of size {stated}, its image is {size(shape)}")
    counts: Any = _counts(given) if isinstance(given, str) else given
    whole = isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)
    if not whole or sum(counts) != shape[0] * shape[1]:
        raise UserError(f"{here}: run lengths that do not add up to {size(shape)} pixels")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape, order="F")


def _counts(packed: str) -> list[int]:
    """The numbers in a string: six bits a character, five of them a number's, lowest first.

    From the fourth on a number is the difference to the one two before. Not by pycocotools, whose
    decoder writes past its memory where the string is damaged.
    """
    counts: list[int] = []
    number = shift = 0
    for code in (ord(character) - 48 for character in packed):
        number |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            number -= 1 << shift  # its sign
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    return counts if shift == 0 else []
