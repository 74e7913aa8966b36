"""Soft Jaccard (IoU), the direct loss of Cai et al. 2017 for the pancreas."""

from dataclasses import dataclass

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.overlap import overlap
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, of_counted, targets
from jaxseg.losses.tversky import complement


@dataclass(frozen=True, kw_only=True)
class Jaccard:
    """``1 - mean over classes of (I + s) / (P + G - I + s)``.

    With hard labels that is also ``sum min(p, g) / sum max(p, g)``, the form of the paper and of
    RITM's SoftIoU. MONAI's ``DiceLoss(jaccard=True)`` doubles both sides: its smooth is twice this
    one. ``batch`` counts over the batch before the ratio (segmentation-models-pytorch).
    """

    weight: float | Ramp = 1.0
    smooth: float = 1e-5
    classes: Classes = "all"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse denominators that could vanish."""
        require(self.smooth >= 0, "Jaccard.smooth", self.smooth, "at least 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        counts = overlap(t, batch=self.batch)
        loss = complement(counts, alpha=1.0, beta=1.0, smooth=self.smooth)
        return of_counted(chosen(self, loss).mean(-1), t.pixels)
