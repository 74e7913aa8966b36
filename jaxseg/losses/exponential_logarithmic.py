"""3D segmentation with exponential logarithmic loss (Wong et al. 2018)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.overlap import overlap
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import (
    Classes,
    Targets,
    chosen,
    class_factors,
    of_counted,
    per_example,
    power,
    ratio,
    targets,
)


@dataclass(frozen=True, kw_only=True)
class ExponentialLogarithmic:
    """``dice E_c[(-ln Dice_c)^gamma] + cross E_i[w_{y_i} (-ln p_{i,y_i})^gamma]``.

    ``w_c = (sum_j f_j / f_c)^(1/2)`` from the numbers of pixels ``f`` of the example, unless
    ``class_weights`` gives those of the training set, as in the paper. SegLossOdyssey's version has
    no exponent on the cross entropy and takes the mean of Dice inside the logarithm: not the paper.
    The gradient at a perfect prediction, infinite for ``gamma < 1``, is 0 here.
    """

    weight: float | Ramp = 1.0
    dice: float = 0.8
    cross: float = 0.2
    gamma: float = 0.3
    class_weights: tuple[float, ...] | None = None
    smooth: float = 1e-5
    classes: Classes = "all"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse logarithms of 0."""
        require(self.smooth > 0, "ExponentialLogarithmic.smooth", self.smooth, "above 0")
        require(self.gamma > 0, "ExponentialLogarithmic.gamma", self.gamma, "above 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        counts = overlap(t, batch=self.batch)
        wrong = (counts.excess + counts.missed) / 2
        # -ln Dice, exact where Dice is near 1 (where the power is steep) and where it is near 0.
        dice = power(jnp.log1p(wrong / (counts.hit + self.smooth / 2)), self.gamma)
        dice = chosen(self, dice).mean(-1)
        pixels = t.pixels[..., None] * t.one_hot
        factors = class_factors(self, self.class_weights, t.logits)
        if self.class_weights is None:
            axes = tuple(range(0 if self.batch else 1, pixels.ndim - 1))
            sizes = pixels.sum(axes, keepdims=True)
            factors = jnp.sqrt(ratio(sizes.sum(-1, keepdims=True), sizes, empty=0.0))
        cross = per_example((factors * pixels).sum(-1) * power(surprise(t), self.gamma))
        cross = ratio(cross, per_example(t.pixels), empty=0.0)
        return of_counted(self.dice * dice + self.cross * cross, t.pixels)


def surprise(t: Targets) -> Float[Array, " b *spatial"]:
    """``-ln p`` of each pixel's true class, with all digits where ``p`` is nearly 1.

    A power of it is steep there, so that the rounding of a logarithm of the softmax would show.
    """
    if t.logits.shape[-1] == 1:
        return jnp.zeros_like(t.pixels)
    others = jnp.where(t.one_hot > 0, -jnp.inf, t.logits)
    largest = jax.lax.stop_gradient(others.max(-1, keepdims=True))
    rest = largest[..., 0] + jnp.log(jnp.exp(others - largest).sum(-1))
    return jax.nn.softplus(rest - (t.logits * t.one_hot).sum(-1))
