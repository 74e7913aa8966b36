"""Channels that are normalised each in its own way: a CT beside a PET."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jaxseg.data.normalize import Normalize, Statistics
from jaxseg.errors import require


@dataclass(frozen=True)
class ByChannel:
    """The k-th channel as ``ways[k]`` says, such as ``ByChannel((CT(...), ZScore()))``."""

    ways: tuple[Normalize, ...]

    def __post_init__(self) -> None:
        """Refuse none."""
        require(len(self.ways) > 0, "data.normalize.ways", self.ways, "a way for each channel")

    @property
    def scale(self) -> str:
        """What an exported artifact expects of its images."""
        return "; ".join(f"channel {k} {way.scale}" for k, way in enumerate(self.ways))

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> Float[np.ndarray, "2 c"]:
        """Each way's statistics of its channel; 0 where it needs none."""
        self._check(image.shape[-1])
        found = np.zeros((2, len(self.ways)))
        for k, way in enumerate(self.ways):
            known = way.statistics(image[..., k : k + 1])
            if known is not None:
                found[:, k] = known[:, 0]
        return found

    def __call__(self, image: Any, statistics: Statistics) -> Float[np.ndarray, "*spatial c"]:
        """The channels side by side again."""
        self._check(image.shape[-1])
        assert statistics is not None
        made = [
            way(image[..., k : k + 1], statistics[:, k : k + 1]) for k, way in enumerate(self.ways)
        ]
        return np.concatenate(made, -1)

    def on_device(self, image: Array) -> Float[Array, "b *spatial c"]:
        """The channels of whole images, on a device."""
        self._check(image.shape[-1])
        made = [way.on_device(image[..., k : k + 1]) for k, way in enumerate(self.ways)]
        return jnp.concatenate(made, -1)

    def _check(self, channels: int) -> None:
        require(len(self.ways) == channels, "data.normalize.ways", self.ways, f"{channels} ways")
