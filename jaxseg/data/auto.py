"""Normalisation by what the training split holds, found once when a run begins."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jaxseg.data.intensities import some_pixels
from jaxseg.data.normalize import Statistics, less
from jaxseg.errors import UserError, require

PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, kw_only=True)
class Auto:
    """Clips each channel to percentiles of the training split, then gives it mean 0, deviation 1.

    The scheme of nnU-Net for CT (Isensee et al. 2021), over all pixels, where nnU-Net takes those
    of the foreground. ``Auto()`` stands in a config; ``train`` fills the four fields in from the
    training split (percentiles 0.5 and 99.5, then mean and deviation of what was clipped) and the
    run keeps them, so evaluation, prediction and export use the numbers of training. A number is
    taken to mean the same in all images (CT, 12-bit cameras); where each has a scale of its own
    (MRI), take `ZScore`.
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse fields of different lengths, empty ranges and deviations of 0."""
        for name in ("low", "high", "mean", "deviation"):
            value = getattr(self, name)
            fine = len(value) == len(self.low) and all(map(math.isfinite, value))
            require(fine, f"data.normalize.{name}", value, "a finite number for each channel")
        fine = all(low < high for low, high in zip(self.low, self.high, strict=True))
        require(fine, "data.normalize.high", self.high, f"above low={self.low}")
        fine = min(self.deviation, default=1) > 0
        require(fine, "data.normalize.deviation", self.deviation, "above 0")

    @property
    def fitted(self) -> bool:
        """Whether the training split was seen."""
        return bool(self.low)

    def fit(self, images: Iterable[Shaped[np.ndarray, "..."]]) -> "Auto":
        """The normalisation for images like these, raw ``[*spatial c]``; 2^16 pixels of each count.

        A constant channel becomes 0.
        """
        pixels = np.concatenate([some_pixels(image) for image in images])
        low, high = np.percentile(pixels, PERCENTILES, axis=0)
        high = np.where(high > low, high, low + 1)
        clipped = np.clip(pixels, low, high)
        deviation = clipped.std(0)
        found = low, high, clipped.mean(0), np.where(deviation > 0, deviation, 1)
        names = "low", "high", "mean", "deviation"
        return Auto(**{name: tuple(x.tolist()) for name, x in zip(names, found, strict=True)})

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images."""
        return "in the units of the data (it clips and scales them as the training images)"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Return None: no pixel depends on another."""

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image clipped, less the mean, over the deviation."""
        self._check(image.shape[-1])
        low, high, mean, deviation = map(np.asarray, self._numbers())
        return ((np.clip(np.asarray(image, np.float64), low, high) - mean) / deviation).astype("f4")

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The images of a batch clipped and normalised on a device."""
        self._check(image.shape[-1])
        channels = []
        for c, (low, high, mean, deviation) in enumerate(zip(*self._numbers(), strict=True)):
            centred = less(image[..., c], mean)
            channels.append(jnp.clip(centred, low - mean, high - mean) / deviation)
        return jnp.stack(channels, axis=-1)

    def _numbers(self) -> tuple[tuple[float, ...], ...]:
        return self.low, self.high, self.mean, self.deviation

    def _check(self, channels: int) -> None:
        if not self.fitted:
            raise UserError(
                "data.normalize=Auto() has not seen the training split: train fits it, and "
                "Data.fitted() does in a program"
            )
        require(len(self.low) == channels, "data.normalize.low", self.low, f"{channels} numbers")
