"""The hybrid of cross entropy and Dice by pixel of UNet++ (Zhou et al., TMI 2020)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import class_factors, per_example, ratio, targets


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """``1 - 1/N sum_c sum_i (g ln p + 2 g p / (g^2 + p^2))``.

    The Dice term is one of each pixel, ``2 p / (1 + p^2)`` of its true class. The paper has no
    ``1``: the same gradient; here a perfect prediction costs 0. ``class_weights`` are factors with
    their sum as divisor, as in `CrossEntropy`.

    The authors' Keras code trains something else, half the cross entropy minus Dice of all pixels:
    ``{"cross_entropy": CrossEntropy(weight=0.5), "dice": Dice(smooth=1.0, classes="foreground")}``.
    """

    weight: float | Ramp = 1.0
    class_weights: tuple[float, ...] | None = None

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        counts = t.one_hot * class_factors(self, self.class_weights, t.logits)
        log_p = jax.nn.log_softmax(t.logits)
        p = jnp.exp(log_p)
        pixel_loss = -log_p + (1.0 - p) ** 2 / (1.0 + p * p)  # 1 - 2 p / (1 + p^2)
        top = per_example(t.pixels * (counts * pixel_loss).sum(-1))
        return ratio(top, per_example(t.pixels * counts.sum(-1)), empty=0.0)
