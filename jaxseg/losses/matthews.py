"""Matthews correlation coefficient as a loss (Abhishek and Hamarneh 2021)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.overlap import overlap
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, of_counted, targets


@dataclass(frozen=True, kw_only=True)
class Matthews:
    """``1 - mean over classes of (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))``.

    Soft counts of a class against the rest; unlike Dice it counts what is rightly left out. Without
    class 0, so that two classes are the paper's binary case. ``smooth`` pixels are added to TP and
    TN; segmentation-models-pytorch adds as many to all four, after which an absent class that is
    not predicted costs one half instead of nothing, and counts over the batch (``batch``).
    """

    weight: float | Ramp = 1.0
    smooth: float = 1e-5
    classes: Classes = "foreground"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse denominators that could vanish."""
        require(self.smooth > 0, "Matthews.smooth", self.smooth, "above 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 2]; 0 where every pixel is ignored.

        1 where prediction and label are unrelated.
        """
        t = targets(logits, label, valid=valid, weights=weights)
        counts = overlap(t, batch=self.batch)
        axes = tuple(range(0 if self.batch else 1, t.pixels.ndim))
        pixels = t.pixels.sum(axes, keepdims=True).reshape(-1, 1)
        # Shares of the pixels: the product of four counts of a large volume is beyond float32.
        pixels = jnp.where(pixels > 0, pixels, 1.0)
        smooth = self.smooth / pixels
        free = t.pixels[..., None] * (1.0 - jax.nn.softmax(t.logits)) * (1.0 - t.one_hot)
        free = free.sum(axes).reshape(-1, t.one_hot.shape[-1])
        # Each count by its own sum: one minus the others loses what is small beside them.
        tp, fp, fn, tn = (x / pixels for x in (*counts, free))
        tp, tn = tp + smooth, tn + smooth
        root = jnp.sqrt(tp + fp) * jnp.sqrt(tp + fn) * jnp.sqrt(tn + fp) * jnp.sqrt(tn + fn)
        loss = 1.0 - (tp * tn - fp * fn) / root
        return of_counted(chosen(self, loss).mean(-1), t.pixels)
