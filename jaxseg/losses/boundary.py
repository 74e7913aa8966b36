"""Boundary loss for highly unbalanced segmentation (Kervadec et al. 2019)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxseg.losses.distance import apart
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, per_example, ratio, targets


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """Mean over pixels and classes of ``p phi``, ``phi`` the signed distance to the label's edge.

    ``phi`` is the distance to the class outside of it, and inside one pixel less than the distance
    out of it, negative: the authors' code (the paper's own sum is over pixels). With ``spacing``
    (the size of a pixel on each axis) "one pixel" is the smallest of them. A class that is absent,
    or everywhere, has no edge and costs nothing. ``classes="foreground"`` leaves out class 0.

    Negative at best, and blind to an object that is not predicted at all: add it to a loss of
    regions with a small weight that grows, see `Ramp`.
    """

    weight: float | Ramp = 1.0
    classes: Classes = "foreground"
    spacing: tuple[float, ...] | None = None

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, of either sign; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        p = chosen(self, jax.nn.softmax(t.logits))
        inside = chosen(self, t.one_hot) > 0
        phi = signed_distance(inside, t.pixels[..., None] > 0, self.spacing)
        return ratio(per_example(t.pixels * (p * phi).mean(-1)), per_example(t.pixels), empty=0.0)


def signed_distance(
    inside: Bool[Array, "b *spatial c"],
    counts: Bool[Array, "b *spatial 1"],
    spacing: tuple[float, ...] | None = None,
) -> Float[Array, "b *spatial c"]:
    """Signed distance to each class; pixels that do not count are neither in nor out of it."""
    inside, outside = counts & inside, counts & ~inside
    to_inside, to_outside = apart(inside, outside, spacing)
    step = 1.0 if spacing is None else min(spacing)
    return jnp.where(inside & (to_outside > 0), step - to_outside, to_inside)
