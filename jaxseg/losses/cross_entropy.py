"""Cross entropy of a softmax, with class weights, pixel weights and label smoothing."""

from dataclasses import dataclass

import jax

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import class_factors, per_example, ratio, targets


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Weighted mean over an example's counted pixels, as ``torch.nn.CrossEntropyLoss``.

    With pixel weight ``u_i``, class weight ``w_c``, smoothing ``e`` and ``p`` the softmax::

        sum_i u_i [(1 - e) w_{y_i} (-log p_{i,y_i}) + e / k sum_c w_c (-log p_{i,c})]
        -----------------------------------------------------------------------------
                                  sum_i u_i w_{y_i}

    The divisor is the sum of the weights, not the number of pixels: only their proportions matter.
    The U-Net's weight map (Ronneberger et al. 2015, equation 1) is a sum there, here a mean.
    ``torch`` divides by the weights of the whole batch, jaxseg by each example's own.
    """

    weight: float | Ramp = 1.0
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no distribution."""
        require(
            0 <= self.label_smoothing <= 1,
            "CrossEntropy.label_smoothing",
            self.label_smoothing,
            "in [0, 1]",
        )

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored.

        With label smoothing even the best prediction costs more than 0.
        """
        t = targets(logits, label, valid=valid, weights=weights)
        classes = class_factors(self, self.class_weights, t.logits)
        surprise = -jax.nn.log_softmax(t.logits)
        truth = (1.0 - self.label_smoothing) * t.one_hot
        if self.label_smoothing:
            truth = truth + self.label_smoothing / t.logits.shape[-1]
        # Sums, not matrix products, which accelerators round to bfloat16 or TF32.
        pixel_loss = (classes * surprise * truth).sum(-1)
        pixel_weight = (classes * t.one_hot).sum(-1)
        return ratio(
            per_example(t.pixels * pixel_loss), per_example(t.pixels * pixel_weight), empty=0.0
        )
