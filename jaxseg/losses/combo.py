"""Combo loss: handling input and output imbalance (Taghanaki et al. 2019)."""

from dataclasses import dataclass

import jax

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.overlap import overlap
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import (
    Classes,
    chosen,
    of_counted,
    one_vs_rest,
    per_example,
    ratio,
    targets,
)
from jaxseg.losses.tversky import complement


@dataclass(frozen=True, kw_only=True)
class Combo:
    """``alpha E[-beta g ln p - (1 - beta) (1 - g) ln(1 - p)] + (1 - alpha) (1 - Dice)``.

    The paper has ``-(1 - alpha) Dice``: the same less ``1 - alpha``, with the same gradient; here a
    perfect prediction costs 0. ``E`` is over pixels and classes, Dice the mean over classes with
    ``smooth`` on both sides; without class 0 two classes are the paper's binary case. ``beta``
    above one half punishes what is missed, below it what is too much (the paper: 0.4 to 0.5).
    """

    weight: float | Ramp = 1.0
    alpha: float = 0.5
    beta: float = 0.5
    smooth: float = 1.0
    classes: Classes = "foreground"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no mixture."""
        require(0 <= self.alpha <= 1, "Combo.alpha", self.alpha, "in [0, 1]")
        require(0 <= self.beta <= 1, "Combo.beta", self.beta, "in [0, 1]")
        require(self.smooth >= 0, "Combo.smooth", self.smooth, "at least 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        margin = one_vs_rest(t.logits)
        found = self.beta * t.one_hot * jax.nn.log_sigmoid(margin)
        free = (1.0 - self.beta) * (1.0 - t.one_hot) * jax.nn.log_sigmoid(-margin)
        entropy = -chosen(self, found + free).mean(-1)
        entropy = ratio(per_example(t.pixels * entropy), per_example(t.pixels), empty=0.0)
        counts = overlap(t, batch=self.batch)
        dice = complement(counts, alpha=0.5, beta=0.5, smooth=self.smooth / 2)
        dice = chosen(self, dice).mean(-1)
        return of_counted(self.alpha * entropy + (1.0 - self.alpha) * dice, t.pixels)
