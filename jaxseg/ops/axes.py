"""Sizes of windows, strides and the like, for images of any spatial rank."""

from jaxseg.errors import UserError

Size = int | tuple[int, ...]
"""One number for all spatial axes, or one for each."""


def per_axis(size: Size, rank: int, field: str) -> tuple[int, ...]:
    """One number for each of ``rank`` axes; UserError where a tuple has another length."""
    sizes = (size,) * rank if isinstance(size, int) else tuple(size)
    if len(sizes) != rank:
        raise UserError(f"{field}={size} has {len(sizes)} numbers; the image has {rank} axes")
    return sizes
