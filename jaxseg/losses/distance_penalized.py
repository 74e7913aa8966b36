"""Cross entropy that costs more near edges (Caliva et al. 2019, distance map loss penalty)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.losses.distance import distance_out
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import (
    Targets,
    class_factors,
    per_example,
    ratio,
    targets,
)


@dataclass(frozen=True, kw_only=True)
class DistancePenalized:
    """``sum_i u_i w_{y_i} (1 + phi_i) (-log p_{i,y_i}) / sum_i u_i w_{y_i}``.

    ``phi`` falls from 1 at the edge of the pixel's own class to 0 at its innermost pixel, see
    `penalty`. Class weights ``w`` as in `CrossEntropy`; ``spacing`` is the size of a pixel on each
    axis. SegLossOdyssey's ``DisPenalizedCE`` computes this and returns the plain cross entropy.
    """

    weight: float | Ramp = 1.0
    class_weights: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        counts = t.one_hot * class_factors(self, self.class_weights, t.logits)
        entropy = (-jax.nn.log_softmax(t.logits) * counts).sum(-1)
        return ratio(
            per_example(t.pixels * (1.0 + penalty(t, self.spacing)) * entropy),
            per_example(t.pixels * counts.sum(-1)),
            empty=0.0,
        )


def penalty(t: Targets, spacing: tuple[float, ...] | None = None) -> Float[Array, " b *spatial"]:
    """``(max d - d) / (max d - min d)``: ``d`` is the distance out of the pixel's class.

    Maximum and minimum are over the class's pixels in the example. 1 where all of them are equally
    close to the edge (SegLossOdyssey: NaN); 0 where the example has one class only, so no edge.
    """
    counts = t.pixels > 0
    own = t.one_hot * counts[..., None] > 0
    number = jnp.where(own.any(-1), jnp.argmax(own, -1), own.shape[-1])
    out = distance_out(number, counts, spacing)[..., None]
    pixels = tuple(range(1, out.ndim - 1))
    deepest = jnp.where(own, out, 0.0).max(pixels, keepdims=True)
    nearest = jnp.where(own, out, jnp.inf).min(pixels, keepdims=True)
    spread = jnp.where(deepest > 0, deepest - nearest, 0.0)
    phi = ratio(deepest - out, spread, empty=1.0)
    return jnp.where(own & (deepest > 0), phi, 0.0).sum(-1)
