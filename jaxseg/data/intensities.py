"""Intensities of the images to train on: what looks wrong with them, and what lies far from them.

A network computes on any numbers. Images of another scale than those it was trained on give label
maps that mean nothing, so a run says what it saw, keeps it, and prediction compares.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from jaxseg.data.normalize import FULL_SCALE
from jaxseg.errors import UserError, first_line

PIXELS = 1 << 16
"""Pixels of an image that are looked at."""

CASES = 16
"""Images of a split that are looked at."""

Images = Iterable[Shaped[np.ndarray, "..."]]
"""Images ``[*spatial c]``, each of a size of its own."""


def some_of(numbers: Sequence[int], count: int = CASES) -> list[int]:
    """Up to ``count`` of the numbers, evenly spread, the same ones every time."""
    chosen = np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int)
    return [numbers[int(n)] for n in chosen]


def some_pixels(image: Shaped[np.ndarray, "*spatial c"]) -> Float[np.ndarray, "n c"]:
    """Up to 2^16 pixels of the image, evenly spread."""
    flat = image.reshape(-1, image.shape[-1])
    step = -(-len(flat) // PIXELS)
    # An even step would meet the same columns of every row of an image whose width it divides.
    step += step > 1 and step % 2 == 0
    return np.asarray(flat[::step], np.float64)


def scale_line(raws: Images) -> str | None:
    """What to say of raw images of which `Unit` makes no [0, 1]; None where it does.

    Whole numbers that use under a tenth of their dtype's scale (12 bits in files of 16), and other
    dtypes far outside of [0, 1], which `Unit` leaves as they are.
    """
    pixels, dtypes = [], set()
    for raw in raws:
        pixels.append(some_pixels(raw).ravel())
        dtypes.add(raw.dtype)
    low, high = np.percentile(np.concatenate(pixels), [0.1, 99.9])
    full = max(FULL_SCALE.get(dtype, 1.0) for dtype in dtypes)
    named = " and ".join(sorted(str(dtype) for dtype in dtypes))
    if full > 1 and high < full / 10:
        seen = f"are {named} and use {low:.6g} to {high:.6g} of {full:.0f}"
    elif full == 1 and not (low >= -2 and high <= 2):
        seen = f"are {named} of {low:.6g} to {high:.6g}, which nothing scales to [0, 1]"
    else:
        return None
    return (
        f"the images to train on {seen}; networks learn badly so: say data.normalize=Auto(), "
        f"Percentile() or Range(low={float(low):.6g}, high={float(high):.6g})"
    )


@dataclass(frozen=True)
class Intensities:
    """Normalised images to train on, by channel: bounds of the images' means and deviations.

    ``deviation`` is that of the pixels of all of them.
    """

    means: tuple[tuple[float, float], ...]
    deviations: tuple[tuple[float, float], ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, images: Images) -> "Intensities":
        """The bounds and deviations of normalised images."""
        pixels = [some_pixels(image) for image in images]
        means, deviations = (np.stack([f(x, 0) for x in pixels]) for f in (np.mean, np.std))

        def bounds(values: np.ndarray) -> tuple[tuple[float, float], ...]:
            return tuple(zip(values.min(0).tolist(), values.max(0).tolist(), strict=True))

        spread = np.concatenate(pixels).std(0).tolist()
        return cls(bounds(means), bounds(deviations), tuple(spread))

    def far(self, image: Shaped[np.ndarray, "*spatial c"]) -> str | None:
        """How a normalised image differs from all of these, if it does, in words.

        Its mean lies outside theirs by more than two deviations, or its deviation is a quarter of
        the least or four times the greatest of theirs.
        """
        pixels = some_pixels(image)
        for c, (mean, deviation) in enumerate(zip(pixels.mean(0), pixels.std(0), strict=True)):
            (low, high), (least, most) = self.means[c], self.deviations[c]
            slack = 2 * self.deviation[c]
            fine = low - slack <= mean <= high + slack and least / 4 <= deviation <= 4 * most
            if not fine:
                return (
                    f"channel {c} has mean {mean:.3g} and deviation {deviation:.3g} after "
                    f"data.normalize, where training images had {low:.3g} to {high:.3g} and "
                    f"{least:.3g} to {most:.3g}"
                )
        return None

    def write(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Intensities | None":
        """Read the intensities of a run; None for a run that kept none."""
        if not path.is_file():
            return None
        try:
            tree = json.loads(path.read_text())
            pairs = {
                n: tuple((float(a), float(b)) for a, b in tree[n]) for n in ("means", "deviations")
            }
            return cls(**pairs, deviation=tuple(map(float, tree["deviation"])))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path}: not what train writes ({first_line(error)}); remove it"
            ) from error
