"""A block called as a network is, so that what holds a network to a peer's numbers holds it too."""

import inspect
from typing import Any

import flax.linen as nn
import jax

from jaxseg.types import Prediction


class Block(nn.Module):
    """``part``, whose parameters are below ``part``; its output stands as the logits."""

    part: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Prediction:
        part: Any = self.part
        knows = "train" in inspect.signature(type(part).__call__).parameters
        return Prediction(part(image, train=train) if knows else part(image))
