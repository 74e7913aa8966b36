"""A network of the lab: two dilated convolutions under a head."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.layers import ConvNorm, Head
from jaxseg.types import Paper, Prediction


class Dilated(nn.Module):
    """Two convolutions at full size, the second one dilated by ``rate``."""

    num_classes: int
    width: int = 6
    rate: int = 2
    dtype: str = "float32"
    stride: int = 1

    paper: ClassVar[Paper] = Paper("Dilated networks of the lab", "Somebody", 2026, "")

    @nn.compact
    def __call__(self, image, *, train):
        x = image.astype(self.dtype)
        x = ConvNorm(self.width, name="near")(x, train=train)
        x = nn.Conv(self.width, (3,) * (x.ndim - 2), kernel_dilation=self.rate, name="far")(x)
        return Prediction(Head(self.num_classes, name="head")(nn.relu(x)).astype(jnp.float32))
