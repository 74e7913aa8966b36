"""A Novel Focal Tversky Loss Function with Improved Attention U-Net (Abraham and Khan 2019)."""

from dataclasses import dataclass
from typing import Literal

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.overlap import overlap
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, of_counted, power, targets
from jaxseg.losses.tversky import complement


@dataclass(frozen=True, kw_only=True)
class FocalTversky:
    """``mean over classes of (1 - TI_c)^(1 / gamma)`` with the index of `Tversky`.

    ``gamma`` is the paper's 4/3; segmentation-models-pytorch calls the exponent, 3/4, gamma.
    ``power_of="mean"`` raises the mean over classes instead of each class, as
    segmentation-models-pytorch does. ``alpha`` weighs false positives, ``beta`` false negatives
    (in the paper and its code the letters are swapped; 0.7 is for the false negatives there too).

    The gradient at a perfect prediction, infinite for ``gamma > 1``, is 0 here.
    """

    weight: float | Ramp = 1.0
    gamma: float = 4 / 3
    alpha: float = 0.3
    beta: float = 0.7
    smooth: float = 1.0
    power_of: Literal["class", "mean"] = "class"
    classes: Classes = "all"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse denominators that could vanish."""
        require(self.gamma > 0, "FocalTversky.gamma", self.gamma, "above 0")
        for name in ("alpha", "beta", "smooth"):
            require(
                getattr(self, name) >= 0, f"FocalTversky.{name}", getattr(self, name), "at least 0"
            )

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        loss = complement(
            overlap(t, batch=self.batch), alpha=self.alpha, beta=self.beta, smooth=self.smooth
        )
        loss = chosen(self, loss)
        if self.power_of == "class":
            loss = power(loss, 1 / self.gamma).mean(-1)
        else:
            loss = power(loss.mean(-1), 1 / self.gamma)
        return of_counted(loss, t.pixels)
