"""Sensitivity-specificity error of lesions (Brosch et al. 2015)."""

from dataclasses import dataclass

import jax

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, of_counted, ratio, targets


@dataclass(frozen=True, kw_only=True)
class SensitivitySpecificity:
    """``r sum (g - p)^2 g / sum g + (1 - r) sum (g - p)^2 (1 - g) / sum (1 - g)``.

    ``sensitivity`` is ``r``, the share of the first term: the paper's 0.05 (0.1 in later code). A
    class that is absent has no first term. Mean over the classes without class 0, so that two
    classes are the paper's case.
    """

    weight: float | Ramp = 1.0
    sensitivity: float = 0.05
    classes: Classes = "foreground"

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        require(
            0 <= self.sensitivity <= 1,
            "SensitivitySpecificity.sensitivity",
            self.sensitivity,
            "in [0, 1]",
        )

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        g, u = t.one_hot, t.pixels[..., None]
        pixels = tuple(range(1, g.ndim - 1))
        error = u * (g - jax.nn.softmax(t.logits)) ** 2
        missed = ratio((error * g).sum(pixels), (u * g).sum(pixels), empty=0.0)
        excess = ratio((error * (1 - g)).sum(pixels), (u * (1 - g)).sum(pixels), empty=0.0)
        loss = self.sensitivity * missed + (1 - self.sensitivity) * excess
        return of_counted(chosen(self, loss).mean(-1), t.pixels)
