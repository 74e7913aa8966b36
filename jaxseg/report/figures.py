"""What the pictures of a run are made of: images as RGB, label maps in colours, figures.

matplotlib is imported where it draws, and only its figures are used: no pyplot, no global state.
"""

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxseg import disk
from jaxseg.types import IGNORE

GREY = (128, 128, 128)
"""Pixels to ignore."""

# Okabe & Ito 2008 (told apart by the colour-blind); class 0 is mostly background.
FIRST = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115),
    (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip


def class_colors(count: int) -> UInt8[np.ndarray, "count 3"]:
    """A colour a class, none of them grey; the first eight for the colour-blind too."""
    more = [
        colorsys.hsv_to_rgb(0.618034 * n % 1, 0.55 + 0.4 * (n % 2), 0.95 - 0.3 * (n // 2 % 2))
        for n in range(max(0, count - len(FIRST)))
    ]
    rest = [tuple(round(255 * value) for value in color) for color in more]
    return np.asarray([*FIRST, *rest][:count], np.uint8).reshape(count, 3)


def paint(label: Int[np.ndarray, "*spatial"]) -> UInt8[np.ndarray, "*spatial 3"]:
    """A label map in the colours of its classes, IGNORE grey."""
    colors = class_colors(max(int(label.max(initial=0)), 0) + 1)
    assert IGNORE == -1  # so it finds the last colour
    return np.concatenate([colors, [GREY]]).astype(np.uint8)[label]


def shown(image: Float[np.ndarray, "*spatial c"]) -> UInt8[np.ndarray, "*spatial 3"]:
    """An image of any range as RGB: three channels as they are, of others the first as grey.

    Stretched from the 0.5 to the 99.5 percentile of what is finite.
    """
    image = image if image.shape[-1] == 3 else image[..., :1]
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(image, (0.5, 99.5)) if image.size else (0.0, 1.0)
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    grey = np.rint(255 * scaled).astype(np.uint8)
    return np.broadcast_to(grey, (*grey.shape[:-1], 3))


def overlay(
    image: Float[np.ndarray, "*spatial c"],
    label: Int[np.ndarray, "*spatial"],
    *,
    opacity: float = 0.45,
) -> UInt8[np.ndarray, "*spatial 3"]:
    """The classes' colours over the image; class 0 leaves it as it is."""
    picture = shown(image).astype(np.float32)
    mixed = (1 - opacity) * picture + opacity * paint(label)
    return np.rint(np.where((label == 0)[..., None], picture, mixed)).astype(np.uint8)


def flat(part: np.ndarray, rank: int) -> np.ndarray:
    """What a picture shows of a map of ``rank`` spatial axes: two of them, further axes kept.

    The middle slice of a volume; a signal is a picture of one row.
    """
    return part[len(part) // 2] if rank == 3 else part[None] if rank == 1 else part


def figure(width: float, height: float) -> Any:
    """An empty figure of that many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def save(drawn: Any, path: str | Path) -> None:
    """Save the figure, whole or not at all: somebody may be looking at the old picture."""
    with disk.replacing(Path(path)) as beside:
        drawn.savefig(beside, format="png")
