"""Tversky loss (Salehi, Erdogmus, Gholipour 2017): Dice that tells excess from what is missed."""

from dataclasses import dataclass

from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.overlap import Overlap, overlap
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, of_counted, ratio, targets


@dataclass(frozen=True, kw_only=True)
class Tversky:
    """``1 - mean over classes of (TP + s) / (TP + alpha FP + beta FN + s)``, soft counts.

    ``alpha`` weighs false positives and ``beta`` false negatives, as in the paper, MONAI,
    segmentation-models-pytorch and kornia (in Abraham's code of the focal Tversky loss alpha is the
    factor of the false negatives: swap them). 0.5 and 0.5 are Dice, 1 and 1 Jaccard. ``smooth`` is
    MONAI's 1e-5. ``batch`` counts over the batch before the ratio (segmentation-models-pytorch).
    """

    weight: float | Ramp = 1.0
    alpha: float = 0.3
    beta: float = 0.7
    smooth: float = 1e-5
    classes: Classes = "all"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse denominators that could vanish."""
        for name in ("alpha", "beta", "smooth"):
            require(getattr(self, name) >= 0, f"Tversky.{name}", getattr(self, name), "at least 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        loss = complement(
            overlap(t, batch=self.batch), alpha=self.alpha, beta=self.beta, smooth=self.smooth
        )
        return of_counted(chosen(self, loss).mean(-1), t.pixels)


def complement(
    counts: Overlap, *, alpha: float, beta: float, smooth: float
) -> Float[Array, "bb k"]:
    """One minus the Tversky index of each class; 0 for a class neither present nor predicted."""
    wrong = alpha * counts.excess + beta * counts.missed
    return ratio(wrong, counts.hit + wrong + smooth, empty=0.0)
