"""A loss of the lab."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxseg.losses import Ramp
from jaxseg.losses.targets import per_example, ratio, targets


@dataclass(frozen=True, kw_only=True)
class Absolute:
    """The mean over pixels of 1 less the probability of the label, to the power ``gamma``."""

    gamma: float = 1.0
    weight: float | Ramp = 1.0

    def __call__(self, logits, label, *, valid=None, weights=None):
        t = targets(logits, label, valid=valid, weights=weights)
        missed = 1 - (jax.nn.softmax(t.logits) * t.one_hot).sum(-1)
        return ratio(
            per_example(t.pixels * jnp.power(missed, self.gamma)), per_example(t.pixels), empty=0.0
        )
