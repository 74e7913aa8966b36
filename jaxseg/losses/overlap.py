"""Soft counts of what is found, found too much and missed: the sums of all overlap losses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.losses.targets import Targets


class Overlap(NamedTuple):
    """Soft counts by class, of each example or (``bb`` = 1) of the batch.

    One minus a score is made of ``excess`` and ``missed`` alone: 0 for a perfect prediction, which
    one minus a rounded quotient need not be.
    """

    hit: Float[Array, "bb k"]
    """``sum u p g``: true positives."""
    excess: Float[Array, "bb k"]
    """``sum u p (1 - g)``: false positives."""
    missed: Float[Array, "bb k"]
    """``sum u (1 - p) g``: false negatives."""


def overlap(t: Targets, *, batch: bool = False) -> Overlap:
    """The counts of the softmax ``p``, with one-hot label ``g`` and pixel weights ``u``."""
    g, u = t.one_hot, t.pixels[..., None]
    powers = jnp.exp(t.logits - jax.lax.stop_gradient(t.logits.max(-1, keepdims=True)))
    whole = powers.sum(-1, keepdims=True)
    p = powers / whole
    # One minus the true class's p, as the others' sum: a sure p is 1 in float32.
    rest = (powers * (1 - g)).sum(-1, keepdims=True) / whole
    axes = tuple(range(0 if batch else 1, p.ndim - 1))

    def total(x: Float[Array, "b *spatial k"]) -> Float[Array, "bb k"]:
        summed = (u * x).sum(axes)
        return summed[None] if batch else summed

    return Overlap(hit=total(p * g), excess=total(p * (1 - g)), missed=total(rest * g))
