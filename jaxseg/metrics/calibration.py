"""Expected calibration error: whether a confidence of 0.8 is right in 8 of 10 pixels.

Guo et al. 2017, https://arxiv.org/abs/1706.04599
"""

from typing import Any

import chex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxseg.types import IGNORE


@chex.dataclass(frozen=True)
class Calibration:
    """Pixels by confidence, in bins of equal width; ``a + b`` merges two.

    The confidence is the probability of the class that is predicted. Sums are float32 on the
    device; over a whole data set, add to ``on_host()``, which sums in float64. Bin ``i`` of ``n``
    holds ``i / n < confidence <= (i + 1) / n`` (Guo et al.; 0 is in the first).
    """

    pixels: Int[Array | np.ndarray, " n"]
    right: Int[Array | np.ndarray, " n"]
    confidence: Float[Array | np.ndarray, " n"]

    @classmethod
    def zero(cls, bins: int = 15) -> "Calibration":
        """The counts of no pixels."""
        counts = jnp.zeros(bins, jnp.int32)
        return _calibration(counts, counts, jnp.zeros(bins, jnp.float32))

    @classmethod
    def of(
        cls,
        probabilities: Float[Array | np.ndarray, "b *spatial k"],
        label: Int[Array | np.ndarray, " b *spatial"],
        *,
        bins: int = 15,
        valid: Bool[Array | np.ndarray, " b"] | None = None,
    ) -> "Calibration":
        """The counts of a batch; IGNORE and rows that are not ``valid`` do not count."""
        probabilities, label = jnp.asarray(probabilities), jnp.asarray(label)
        counts = label != IGNORE
        if valid is not None:
            rows = jnp.asarray(valid).reshape(-1, *[1] * (label.ndim - 1))
            counts = counts & rows
        confidence = probabilities.max(-1).astype(jnp.float32)
        right = probabilities.argmax(-1) == label
        edges = jnp.linspace(0, 1, bins + 1, dtype=jnp.float32)[1:-1]
        index = jnp.where(counts, jnp.searchsorted(edges, confidence, side="left"), bins).ravel()

        def summed(values: Array) -> Array:
            zeros = jnp.zeros(bins, values.dtype)
            return zeros.at[index].add(values.ravel(), mode="drop")

        ones = jnp.ones(label.shape, jnp.int32)
        return _calibration(summed(ones), summed(right.astype(jnp.int32)), summed(confidence))

    def __add__(self, other: "Calibration") -> "Calibration":
        """The merged counts, in 64 bits where either is on the host."""
        a, b = self, other
        if any(isinstance(x.pixels, np.ndarray) for x in (a, b)):
            a, b = a.on_host(), b.on_host()
        return _calibration(a.pixels + b.pixels, a.right + b.right, a.confidence + b.confidence)

    def on_host(self) -> "Calibration":
        """The same counts in numpy's int64 and float64."""
        return _calibration(
            np.asarray(self.pixels).astype(np.int64),
            np.asarray(self.right).astype(np.int64),
            np.asarray(self.confidence).astype(np.float64),
        )

    def expected_error(self) -> Any:
        """ECE: mean over pixels of the gap between their bin's accuracy and mean confidence."""
        lib = np if isinstance(self.pixels, np.ndarray) else jnp
        total = self.pixels.sum()
        gaps = abs(1.0 * self.right - self.confidence).sum() / lib.maximum(total, 1)
        return lib.where(total > 0, gaps, lib.nan)

    def largest_error(self) -> Any:
        """MCE: the largest such gap among the bins that have pixels; NaN without a pixel."""
        lib = np if isinstance(self.pixels, np.ndarray) else jnp
        gaps = abs(1.0 * self.right - self.confidence) / lib.maximum(self.pixels, 1)
        return lib.where(self.pixels.sum() > 0, gaps.max(), lib.nan)


def _calibration(pixels: Any, right: Any, confidence: Any) -> Calibration:
    fields = {"pixels": pixels, "right": right, "confidence": confidence}
    return Calibration(**fields)
