"""How raw intensities become the network's input: on the host, and the same in an artifact.

A way to normalise is a frozen object in ``Data.normalize``. What it needs of the whole image is
computed once a case and kept with it, so that a patch is normalised as its image is.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
    """A way to normalise images."""

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
        """An image or a patch of it, float32, by the statistics of the whole."""
        ...

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The same of whole images, traceable."""
        ...


@dataclass(frozen=True)
class Unit:
    """Integers to [0, 1] by the full scale of their dtype; others, and floats, as they are."""

    @property
    def scale(self) -> str:
        """The scale of an artifact's images."""
        return "in [0, 1]"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Nothing is to be known."""

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image by its full scale."""
        return np.divide(image, np.float32(FULL_SCALE.get(image.dtype, 1.0)), dtype=np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The same, traceable; a float32 image stays as it is."""
        return image.astype(jnp.float32) / FULL_SCALE.get(np.dtype(image.dtype), 1.0)


@dataclass(frozen=True)
class ZScore:
    """Mean 0 and deviation 1 of each channel of each image; a constant channel becomes 0."""

    @property
    def scale(self) -> str:
        """The scale of an artifact's images."""
        return "in the units of the data (it z-scores them)"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> Float[np.ndarray, "2 c"]:
        """Mean and deviation."""
        return moments(image)

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image less its mean, over its deviation."""
        assert statistics is not None
        mean, deviation = statistics
        # float64 before the difference: large intensities with a small spread keep their digits
        return ((image - mean) / deviation).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The same, traceable, in float32 about the first pixel."""
        image = image.astype(jnp.float32)
        axes = tuple(range(1, image.ndim - 1))
        image = image - image[(slice(None), *(slice(1),) * len(axes))]
        deviation = image.std(axes, keepdims=True)
        return (image - image.mean(axes, keepdims=True)) / jnp.where(deviation > 0, deviation, 1)


@dataclass(frozen=True, kw_only=True)
class Range:
    """``low`` to 0 and ``high`` to 1, of every channel: a CT window, 12 bits in 16-bit files.

    What lies outside is clipped, unless ``clip=False``.
    """

    low: float
    high: float
    clip: bool = True

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        require(self.low < self.high, "data.normalize.high", self.high, f"above low={self.low}")

    @property
    def scale(self) -> str:
        """The scale of an artifact's images."""
        return f"in the units of the data ({self.low} to {self.high} become 0 to 1)"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Nothing is to be known."""

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image in the range."""
        scaled = (np.asarray(image, np.float64) - self.low) / (self.high - self.low)
        return (np.clip(scaled, 0, 1) if self.clip else scaled).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The same, traceable."""
        scaled = (image.astype(jnp.float32) - self.low) / (self.high - self.low)
        return jnp.clip(scaled, 0, 1) if self.clip else scaled


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """The percentiles ``low`` and ``high`` of each channel of each image to 0 and 1."""

    low: float = 0.5
    high: float = 99.5
    clip: bool = True

    def __post_init__(self) -> None:
        """Refuse what is no pair of percentiles."""
        fine = 0 <= self.low < self.high <= 100
        require(fine, "data.normalize.low", self.low, f"in [0, 100], below high={self.high}")

    @property
    def scale(self) -> str:
        """The scale of an artifact's images."""
        return "in the units of the data (it scales them by their percentiles)"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> Float[np.ndarray, "2 c"]:
        """The two percentiles; a constant channel has a spread of 1."""
        pixels = np.asarray(image).reshape(-1, image.shape[-1])
        low, high = np.percentile(pixels, [self.low, self.high], axis=0)
        return np.stack([low, np.where(high > low, high, low + 1)])

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image between its percentiles."""
        assert statistics is not None
        low, high = statistics
        scaled = (image - low) / (high - low)
        return (np.clip(scaled, 0, 1) if self.clip else scaled).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The same, of each image of the batch."""
        image = image.astype(jnp.float32)
        axes = tuple(range(1, image.ndim - 1))
        bounds = jnp.asarray([self.low, self.high], jnp.float32)
        low, high = jnp.percentile(image, bounds, axis=axes, keepdims=True)
        scaled = (image - low) / jnp.where(high > low, high - low, 1)
        return jnp.clip(scaled, 0, 1) if self.clip else scaled


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Given ``mean`` and ``deviation`` of each channel, of images in [0, 1] as `Unit` has them."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse lengths that differ, and deviations of 0."""
        fine = len(self.mean) == len(self.deviation) and min(self.deviation, default=0) > 0
        what = f"above 0, one for each of mean={self.mean}"
        require(fine, "data.normalize.deviation", self.deviation, what)

    @property
    def scale(self) -> str:
        """The scale of an artifact's images."""
        return "in [0, 1]"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Nothing is to be known."""

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The image in [0, 1] less the mean, over the deviation."""
        self._check(image.shape[-1])
        unit = Unit()(image, None)
        mean, deviation = (np.asarray(x, np.float32) for x in (self.mean, self.deviation))
        return ((unit - mean) / deviation).astype(np.float32)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The same, traceable."""
        self._check(image.shape[-1])
        shape = (1,) * (image.ndim - 1) + (-1,)
        mean, deviation = (jnp.asarray(x).reshape(shape) for x in (self.mean, self.deviation))
        return (Unit().on_device(image) - mean) / deviation

    def _check(self, channels: int) -> None:
        require(len(self.mean) == channels, "data.normalize.mean", self.mean, f"{channels} numbers")


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
