"""Reducing the Hausdorff distance in medical image segmentation (Karimi and Salcudean 2019)."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from jaxseg.errors import require
from jaxseg.losses.distance import apart
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, per_example, ratio, targets


@dataclass(frozen=True, kw_only=True)
class Hausdorff:
    """Mean over pixels and classes of ``(p - g)^2 (d_p^alpha + d_g^alpha)``, equation 8.

    ``d_g`` is the distance to the edge of the label and ``d_p`` to that of the prediction, the
    softmax ``p`` cut at one half; neither has a gradient, and an edge that does not exist is at
    distance 0. ``alpha`` 2 is the paper's and MONAI's. ``field="both"`` measures on either side of
    the edge (the paper, MONAI), "inside" only in the object (LIVIA's code). ``log`` gives
    ``log(1 + loss)``, which MONAI takes of the batch's mean. ``classes="foreground"`` leaves out
    class 0, as MONAI does by default; ``spacing`` is the size of a pixel on each axis.
    """

    weight: float | Ramp = 1.0
    alpha: float = 2.0
    field: Literal["both", "inside"] = "both"
    log: bool = False
    classes: Classes = "foreground"
    spacing: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse distances that weigh less the longer they are."""
        require(self.alpha > 0, "Hausdorff.alpha", self.alpha, "above 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        p = chosen(self, jax.nn.softmax(t.logits))
        g = chosen(self, t.one_hot)
        counts = t.pixels[..., None] > 0
        # All maps in one transform: it is a loop over the rows of the image, not over classes.
        both = jnp.concatenate([p > 0.5, g > 0.5], -1)
        to_inside, to_outside = apart(counts & both, counts & ~both, self.spacing)
        distance = to_outside if self.field == "inside" else to_inside + to_outside
        of_prediction, of_label = jnp.split(distance**self.alpha, 2, axis=-1)
        term = ((p - g) ** 2 * (of_prediction + of_label)).mean(-1)
        loss = ratio(per_example(t.pixels * term), per_example(t.pixels), empty=0.0)
        return jnp.log1p(loss) if self.log else loss
