"""Sizes of windows, strides and the like, for images of any spatial rank."""

import math

from jaxseg.errors import UserError, require

Size = int | tuple[int, ...]
"""One number for all spatial axes, or one for each."""


def per_axis(size: Size, rank: int, field: str) -> tuple[int, ...]:
    """One number for each of ``rank`` axes; UserError where a tuple has another length."""
    sizes = (size,) * rank if isinstance(size, int) else tuple(size)
    if len(sizes) != rank:
        raise UserError(f"{field}={size} has {len(sizes)} numbers; the image has {rank} axes")
    return sizes


def product(sizes: tuple[Size, ...]) -> Size:
    """The product of strides: one number, or one for each axis as soon as a stride has so many.

    UserError where strides have different numbers of axes, or one is below 1.
    """
    numbers = [n for size in sizes for n in (size if isinstance(size, tuple) else (size,))]
    require(min(numbers, default=1) >= 1, "strides", sizes, "at least 1")
    rank = max((len(size) for size in sizes if isinstance(size, tuple)), default=0)
    if not rank:
        return math.prod(size for size in sizes if isinstance(size, int))
    whole = (per_axis(size, rank, "strides") for size in sizes)
    return tuple(math.prod(along) for along in zip(*whole, strict=True))
