"""Generalised Dice overlap as a deep learning loss function (Sudre et al. 2017)."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.overlap import overlap
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, of_counted, ratio, targets


@dataclass(frozen=True, kw_only=True)
class GeneralizedDice:
    """``1 - (2 sum_c w_c I_c + s) / (sum_c w_c (P_c + G_c) + s)``: one ratio of all classes.

    ``volumes`` says how a class weighs by its size ``G_c``: "square" ``1 / G_c^2`` (the paper),
    "simple" ``1 / G_c``, "uniform" 1 (Dice of all classes pooled). A class absent from the label
    takes the largest weight of those present, as in MONAI; the paper does not say.

    ``smooth`` is 0, the paper's formula. MONAI adds 1e-5 to both sides, which outweighs ``w_c`` as
    soon as classes have thousands of pixels. ``batch`` sums over the batch before the ratio.
    ``optax.losses.multiclass_generalized_dice_loss`` is another quantity: a weighted mean of Dice.
    """

    weight: float | Ramp = 1.0
    volumes: Literal["square", "simple", "uniform"] = "square"
    smooth: float = 0.0
    classes: Classes = "all"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse denominators that could vanish."""
        require(self.smooth >= 0, "GeneralizedDice.smooth", self.smooth, "at least 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        hit, excess, missed = (chosen(self, x) for x in overlap(t, batch=self.batch))
        factors = self._factors(jax.lax.stop_gradient(hit + missed))
        wrong = (factors * (excess + missed)).sum(-1)
        both = (factors * (2.0 * hit + excess + missed)).sum(-1)
        return of_counted(ratio(wrong, both + self.smooth, empty=0.0), t.pixels)

    def _factors(self, volume: Float[Array, "bb k"]) -> Float[Array, "bb k"]:
        exponent = {"square": 2, "simple": 1, "uniform": 0}[self.volumes]
        # Sizes relative to the smallest: 1 / G^2 of a large volume is lost in float32.
        present = volume > 0
        smallest = jnp.where(present, volume, jnp.inf).min(-1, keepdims=True)
        relative = jnp.where(present, smallest / jnp.where(present, volume, 1.0), 1.0) ** exponent
        if not self.smooth:
            return relative
        return relative / jnp.where(jnp.isfinite(smallest), smallest, 1.0) ** exponent
