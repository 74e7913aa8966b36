"""The Lovasz-Softmax loss (Berman, Triki, Blaschko 2018), and the hinge of Yu and Blaschko 2015.

Both are the Lovasz extension of the Jaccard loss, piecewise linear in the errors of the pixels.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.order import descending, unordered
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import (
    Classes,
    Targets,
    chosen,
    of_counted,
    one_vs_rest,
    ratio,
    targets,
)


@dataclass(frozen=True, kw_only=True)
class LovaszSoftmax:
    """The Lovasz extension at the errors ``|g - p|`` of a class, mean over ``classes``.

    ``g`` is the one-hot label and ``p`` the softmax. ``classes="present"`` (the authors' default)
    are those that the label has. ``batch`` takes all pixels of the batch as one image: the default
    of the authors and of segmentation-models-pytorch, but not of kornia, nor here where a loss is
    one number an example.
    """

    weight: float | Ramp = 1.0
    classes: Classes | Literal["present"] = "present"
    batch: bool = False

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        errors = jnp.abs(t.one_hot - jax.nn.softmax(t.logits))
        return _mean(self, t, errors)


@dataclass(frozen=True, kw_only=True)
class LovaszHinge:
    """The Lovasz extension at the hinge ``1 - m (2 g - 1)`` of a class, mean over ``classes``.

    ``g`` is the one-hot label and ``m`` the margin; the hinge is cut off below 0. With two classes
    ``m`` is the difference of the logits, the authors' one logit. With more it is the logit of the
    softmax, ``log p_c / (1 - p_c)``, and the mean is over one-against-rest problems: this is ours,
    as the paper has the binary case alone (two classes without class 0). ``batch`` is that of
    `LovaszSoftmax`; the authors and kornia take each image by itself, segmentation-models-pytorch
    the batch.
    """

    weight: float | Ramp = 1.0
    classes: Classes | Literal["present"] = "foreground"
    batch: bool = False

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        hinge = 1.0 - one_vs_rest(t.logits) * (2.0 * t.one_hot - 1.0)
        return _mean(self, t, hinge)


def _mean(
    owner: LovaszSoftmax | LovaszHinge,
    t: Targets,
    errors: Float[Array, "b *spatial k"],
) -> Float[Array, " b"]:
    rows = 1 if owner.batch else errors.shape[0]

    def lines(x: Float[Array, "b *spatial k"]) -> Array:  # [b k n], or [1 k n]
        x = chosen(owner, x)
        return jnp.moveaxis(x.reshape(rows, -1, x.shape[-1]), -1, 1)

    truth = lines(t.one_hot)
    pixels = jnp.broadcast_to(t.pixels.reshape(rows, 1, -1), truth.shape)
    loss = extension(lines(errors), truth, pixels)
    some = (
        (truth * pixels).sum(-1) > 0 if owner.classes == "present" else jnp.ones(loss.shape, bool)
    )
    mean = ratio(jnp.where(some, loss, 0.0).sum(-1), some.sum(-1).astype(jnp.float32), empty=0.0)
    return of_counted(mean, t.pixels)


def extension(
    errors: Float[Array, "*rows n"], truth: Float[Array, "*rows n"], pixels: Float[Array, "*rows n"]
) -> Float[Array, "*rows"]:
    """Sum of the errors, negative ones as 0, times the growth of the Jaccard loss at each.

    The Jaccard loss is that of mistaking all pixels with a larger error, each with its weight.
    """
    order = descending(jax.lax.stop_gradient(errors))
    inside_or_out = jnp.take_along_axis(jnp.where(truth > 0, pixels, -pixels), order, -1)
    inside, extra = jnp.maximum(inside_or_out, 0.0), jnp.maximum(-inside_or_out, 0.0)
    total = inside.sum(-1, keepdims=True)
    left = jnp.maximum(total - jnp.cumsum(inside, -1), 0.0)
    union = total + jnp.cumsum(extra, -1)
    before = union - extra
    # The differences of 1 - left / union by hand: those of a running quotient cancel in float32.
    growth = jnp.where(
        inside > 0, ratio(inside, union, empty=0.0), ratio(left * extra, before * union, empty=0.0)
    )
    growth = jnp.where((before <= 0) & (union > 0), 1.0, growth)  # the first mistake of no object
    growth = unordered(growth, order)
    return (jax.nn.relu(errors) * jax.lax.stop_gradient(growth)).sum(-1)
