"""How raw intensities become the network's input: on the host, and the same in an artifact.

A way to normalise is a frozen object in ``Data.normalize``. What it needs of the whole image is
computed once a case and kept with it, so that a patch is normalised as its image is.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jaxseg.data.sampling import slabs
from jaxseg.errors import require

FULL_SCALE = {np.dtype(bool): 1.0, np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
"""What integers are divided by; other integers are not scaled."""

Statistics = Float[np.ndarray, "n c"] | None


@runtime_checkable
class Normalize(Protocol):
    """A way to normalise images: a frozen object that JSON can hold."""

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images, in words."""
        ...

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> Statistics:
        """What is to be known of the whole image; None where nothing is."""
        ...

    def __call__(
        self, image: Shaped[np.ndarray, "*spatial c"], statistics: Statistics
    ) -> Float[np.ndarray, "*spatial c"]:
        """An image or a patch of it normalised, float32, by the statistics of the whole."""
        ...

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """Whole images of any real dtype normalised, traceable; within 1e-6 of the largest."""
        ...


@dataclass(frozen=True)
class Unit:
    """Bool, uint8 and uint16 go to [0, 1] by their full scale; others stay as they are."""

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images."""
        return "in [0, 1]"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Return None: no pixel depends on another."""

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image over its full scale."""
        return np.divide(image, np.float32(FULL_SCALE.get(image.dtype, 1.0)), dtype=np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The images over their full scale, on a device; a float32 image stays as it is."""
        return image.astype(jnp.float32) / FULL_SCALE.get(np.dtype(image.dtype), 1.0)


@dataclass(frozen=True)
class ZScore:
    """Each channel of each image gets mean 0 and deviation 1; a constant channel becomes 0."""

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images."""
        return "in the units of the data (it z-scores them)"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> Float[np.ndarray, "2 c"]:
        """The mean and the deviation of each channel."""
        return moments(image)

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image less its mean, over its deviation."""
        assert statistics is not None
        mean, deviation = statistics
        # float64 before the difference: large intensities with a small spread keep their digits
        return ((image - mean) / deviation).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The images less their mean, over their deviation, in float32 about the first pixel."""
        image, axes = _about_first(image), tuple(range(1, image.ndim - 1))
        deviation = image.std(axes, keepdims=True)
        return (image - image.mean(axes, keepdims=True)) / jnp.where(deviation > 0, deviation, 1)


@dataclass(frozen=True, kw_only=True)
class Range:
    """Every channel is mapped from ``low`` and ``high`` to 0 and 1: CT windows, 12-bit pictures.

    What lies outside is clipped, unless ``clip=False``.
    """

    low: float
    high: float
    clip: bool = True

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        for name in ("low", "high"):
            value = getattr(self, name)
            require(math.isfinite(value), f"data.normalize.{name}", value, "a finite number")
        require(self.low < self.high, "data.normalize.high", self.high, f"above low={self.low}")

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images."""
        return f"in the units of the data ({self.low} to {self.high} become 0 to 1)"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Return None: no pixel depends on another."""

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image in the range."""
        scaled = (np.asarray(image, np.float64) - self.low) / (self.high - self.low)
        return (np.clip(scaled, 0, 1) if self.clip else scaled).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The images in the range, on a device."""
        scaled = less(image, self.low) / (self.high - self.low)
        return jnp.clip(scaled, 0, 1) if self.clip else scaled


@dataclass(frozen=True, kw_only=True)
class CT:
    """Values cut to ``low`` and ``high``, less ``mean``, over ``deviation``; the same everywhere.

    nnU-Net's CT normalisation, whose numbers are of the foreground of its training images: the
    percentiles 0.5 and 99.5, the mean and the deviation.
    """

    low: float
    high: float
    mean: float
    deviation: float

    def __post_init__(self) -> None:
        """Refuse an empty range, and a deviation that is none."""
        for name in ("low", "high", "mean", "deviation"):
            value = getattr(self, name)
            require(math.isfinite(value), f"data.normalize.{name}", value, "a finite number")
        require(self.low < self.high, "data.normalize.high", self.high, f"above low={self.low}")
        require(self.deviation > 0, "data.normalize.deviation", self.deviation, "above 0")

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images."""
        return f"in the units of the data (it cuts them to {self.low} and {self.high})"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Return None: no pixel depends on another."""

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image cut and scaled."""
        cut = np.clip(np.asarray(image, np.float64), self.low, self.high)
        return ((cut - self.mean) / self.deviation).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The images cut and scaled, on a device."""
        above = jnp.clip(less(image, self.low), 0, self.high - self.low)
        return (above - (self.mean - self.low)) / self.deviation


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """The percentiles ``low`` and ``high`` of each channel of each image become 0 and 1."""

    low: float = 0.5
    high: float = 99.5
    clip: bool = True

    def __post_init__(self) -> None:
        """Refuse what is no pair of percentiles."""
        fine = 0 <= self.low < self.high <= 100
        require(fine, "data.normalize.low", self.low, f"in [0, 100], below high={self.high}")

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images."""
        return "in the units of the data (it scales them by their percentiles)"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> Float[np.ndarray, "2 c"]:
        """The two percentiles; a constant channel has a spread of 1."""
        pixels = np.asarray(image).reshape(-1, image.shape[-1])
        if pixels.dtype.kind in "biu":  # numpy interpolates in the dtype, where differences wrap
            pixels = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
        low, high = np.percentile(pixels, [self.low, self.high], axis=0)
        return np.stack([low, np.where(high > low, high, low + 1)])

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image between its percentiles."""
        assert statistics is not None
        low, high = statistics
        scaled = (image - low) / (high - low)
        return (np.clip(scaled, 0, 1) if self.clip else scaled).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """Each image of the batch between its percentiles, on a device."""
        image, axes = _about_first(image), tuple(range(1, image.ndim - 1))
        bounds = jnp.asarray([self.low, self.high], jnp.float32)
        low, high = jnp.percentile(image, bounds, axis=axes, keepdims=True)
        scaled = (image - low) / jnp.where(high > low, high - low, 1)
        return jnp.clip(scaled, 0, 1) if self.clip else scaled


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Images as `Unit` has them, less a given ``mean``, over a given ``deviation`` a channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse lengths that differ, and deviations of 0."""
        fine = len(self.mean) == len(self.deviation) and min(self.deviation, default=0) > 0
        what = f"above 0, one for each of mean={self.mean}"
        require(fine, "data.normalize.deviation", self.deviation, what)
        for name in ("mean", "deviation"):
            value = getattr(self, name)
            fine = all(map(math.isfinite, value))
            require(fine, f"data.normalize.{name}", value, "finite numbers")

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images."""
        return "in [0, 1]"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Return None: no pixel depends on another."""

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image in [0, 1] less the mean, over the deviation."""
        self._check(image.shape[-1])
        unit = Unit()(image, None)
        mean, deviation = (np.asarray(x, np.float32) for x in (self.mean, self.deviation))
        return ((unit - mean) / deviation).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The images in [0, 1] less the mean, over the deviation, on a device."""
        self._check(image.shape[-1])
        shape = (1,) * (image.ndim - 1) + (-1,)
        mean, deviation = (jnp.asarray(x).reshape(shape) for x in (self.mean, self.deviation))
        return (Unit().on_device(image) - mean) / deviation

    def _check(self, channels: int) -> None:
        require(len(self.mean) == channels, "data.normalize.mean", self.mean, f"{channels} numbers")


def _about_first(image: Array) -> Float[Array, "b *spatial c"]:
    """Float32 differences from the first pixel of each image: what is large keeps its digits."""
    first = image[(slice(None), *(slice(1),) * (image.ndim - 2))]
    return less(image, first)


def less(image: Array, origin: Array | float) -> Float[Array, "..."]:
    """``image - origin``, float32. Wide integers lose no digit before the difference.

    Their halves are subtracted on their own: float32 would round 2^24 + 1, and the difference of
    two integers of 32 bits may not fit in one.
    """
    if not (jnp.issubdtype(image.dtype, jnp.integer) and image.dtype.itemsize > 2):
        return image.astype(jnp.float32) - jnp.asarray(origin).astype(jnp.float32)
    high, low = _halves(image)
    if isinstance(origin, jax.Array):
        high_origin, low_origin = _halves(origin)
    else:
        high_origin = math.floor(origin / HALF)
        low_origin = origin - high_origin * HALF
    return (high - high_origin) * HALF + (low - low_origin)


HALF = 1 << 16


def _halves(x: Array) -> tuple[Array, Array]:
    """Two float32 whose sum, the first times HALF, is the integer."""
    return (x >> 16).astype(jnp.float32), (x & (HALF - 1)).astype(jnp.float32)


def moments(image: Shaped[np.ndarray, "*spatial c"]) -> Float[np.ndarray, "2 c"]:
    """Mean and standard deviation of each channel, in float64, slab by slab.

    A constant channel has deviation 1 here, so that it normalises to 0.
    """
    channels = image.shape[-1]
    total, square = np.zeros(channels), np.zeros(channels)
    # about the first pixel: intensities far from 0 would cancel
    origin = np.asarray(image[(0,) * (image.ndim - 1)], np.float64)
    for _, slab in slabs(image):
        centred = np.asarray(slab, np.float64).reshape(-1, channels) - origin
        total += centred.sum(0)
        square += (centred**2).sum(0)
    count = image.size // channels
    mean = total / count
    deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
    return np.stack([mean + origin, np.where(deviation > 0, deviation, 1)])
