"""Cross entropy of the hardest pixels: top-k (Wu et al. 2016) and online hard examples (OHEM)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.order import descending, unordered
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import class_factors, targets


@dataclass(frozen=True, kw_only=True)
class TopK:
    """Mean cross entropy over the hardest ``fraction`` of an example's counted pixels.

    The hardest have the largest cross entropy. Their number is rounded down, to no less than one
    (nnU-Net's ``TopKLoss``, which takes the batch as one). With pixel weights it is that share of
    their sum, and the last pixel counts in part. ``threshold`` is OHEM's: also every pixel whose
    true class has a smaller probability (mmsegmentation: 0.7, with ``fraction`` as the least to
    keep). ``class_weights`` are factors of the pixels that are kept, and do not decide which.
    """

    weight: float | Ramp = 1.0
    fraction: float = 0.1
    threshold: float | None = None
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what keeps nothing."""
        require(0 < self.fraction <= 1, "TopK.fraction", self.fraction, "in (0, 1]")
        inside = self.threshold is None or 0 < self.threshold < 1
        require(inside, "TopK.threshold", self.threshold, "in (0, 1)")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        rows = t.pixels.shape[0]
        entropy = (-jax.nn.log_softmax(t.logits) * t.one_hot).sum(-1).reshape(rows, -1)
        factors = (class_factors(self, self.class_weights, t.logits) * t.one_hot).sum(-1)
        kept = jax.lax.stop_gradient(self._kept(entropy, t.pixels.reshape(rows, -1)))
        return (kept * factors.reshape(rows, -1) * entropy).sum(-1)

    def _kept(self, entropy: Float[Array, "b n"], pixels: Float[Array, "b n"]) -> Array:
        """The share of each pixel in the mean."""
        order = descending(jnp.where(pixels > 0, entropy, -jnp.inf))
        sorted_pixels = jnp.take_along_axis(pixels, order, -1)
        total, number = pixels.sum(-1), (pixels > 0).sum(-1).astype(jnp.float32)
        # 0.3 of 10 pixels is 3 of them, whichever way the product was rounded.
        whole = jnp.maximum(jnp.floor(self.fraction * number * (1 + 1e-6)), 1.0)
        wanted = total * whole / jnp.maximum(number, 1.0)
        if self.threshold is not None:
            hard = (pixels * (jnp.exp(-entropy) < self.threshold)).sum(-1)
            wanted = jnp.maximum(wanted, hard)
        before = jnp.cumsum(sorted_pixels, -1) - sorted_pixels
        taken = jnp.clip(wanted[:, None] - before, 0.0, sorted_pixels)
        taken = taken / jnp.where(total > 0, taken.sum(-1), 1.0)[:, None]
        return unordered(taken, order)
