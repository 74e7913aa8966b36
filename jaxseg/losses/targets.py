"""The pixels that a loss counts, with their logits and labels: where every loss starts."""

from typing import Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxseg.errors import UserError, require
from jaxseg.losses.loss import Label, Logits, Valid, Weights
from jaxseg.types import IGNORE

Classes = Literal["all", "foreground"] | tuple[int, ...]
"""The classes that a loss is the mean of; "foreground" are all but class 0."""


@runtime_checkable
class OfClasses(Protocol):
    """A loss that is a mean over some of the classes."""

    @property
    def classes(self) -> Classes | Literal["present"]:
        """The classes of the mean; "present" is for the loss itself to resolve."""
        ...


class Targets(NamedTuple):
    """Logits and labels made ready: what does not count is zero in all three."""

    logits: Float[Array, "b *spatial k"]
    one_hot: Float[Array, "b *spatial k"]
    pixels: Float[Array, " b *spatial"]
    """The pixel's weight, 0 where it is ignored."""


def counted(
    label: Int[Array, " b *spatial"], valid: Bool[Array, " b"] | None
) -> Bool[Array, " b *spatial"]:
    """Pixels with a label, in rows that are no padding."""
    mask = label != IGNORE
    return mask if valid is None else mask & over_pixels(valid, label.ndim)


def targets(
    logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
) -> Targets:
    """Float32 logits, one-hot labels and pixel weights.

    The logits of ignored pixels are replaced, not multiplied by zero: whatever stands there, NaN
    included, reaches neither the loss nor the gradient. A label of ``k`` or above is the fault of
    the data (which refuses it when it is read) and counts as no class.
    """
    logits = jnp.asarray(logits, jnp.float32)
    label = jnp.asarray(label)
    mask = counted(label, None if valid is None else jnp.asarray(valid))
    pixels = mask.astype(jnp.float32)
    if weights is not None:
        pixels = jnp.where(mask, jnp.asarray(weights, jnp.float32), 0.0)
    return Targets(
        logits=jnp.where(mask[..., None], logits, 0.0),
        # A comparison fuses into the reductions that follow; a gather by label would scatter
        # in the gradient. IGNORE equals no class, so its row is zero.
        one_hot=jax.nn.one_hot(label, logits.shape[-1], dtype=jnp.float32)
        * mask[..., None].astype(jnp.float32),
        pixels=pixels,
    )


def over_pixels(x: Array, ndim: int) -> Array:
    """``[b] -> [b 1 ... 1]`` with ``ndim`` axes."""
    return x.reshape(x.shape[0], *(1,) * (ndim - 1))


def per_example(x: Float[Array, " b *spatial"]) -> Float[Array, " b"]:
    """Sum over all axes but the first."""
    return x.sum(axis=tuple(range(1, x.ndim)))


def ratio(top: Float[Array, "..."], bottom: Float[Array, "..."], *, empty: float) -> Array:
    """``top / bottom``, and ``empty`` with a gradient of 0 where ``bottom`` is 0."""
    some = bottom > 0
    return jnp.where(some, top / jnp.where(some, bottom, 1.0), empty)


def of_counted(loss: Float[Array, " bb"], pixels: Float[Array, " b *spatial"]) -> Array:
    """``[b]``: the loss of examples with a pixel that counts, 0 for the others.

    ``bb`` is ``b``, or 1 where the loss was taken over the batch.
    """
    return jnp.where(per_example(pixels) > 0, loss, 0.0)


def power(x: Float[Array, "..."], exponent: float) -> Float[Array, "..."]:
    """``x^exponent``; 0 with a gradient of 0 at ``x <= 0``, where a root's is infinite."""
    some = x > 0
    return jnp.where(some, jnp.where(some, x, 1.0) ** exponent, 0.0)


def one_vs_rest(logits: Float[Array, "b *spatial k"]) -> Float[Array, "b *spatial k"]:
    """``log p_c / (1 - p_c)`` of the softmax ``p``: of two classes ``z_1 - z_0`` and its negative.

    ``z_c - log sum_{j != c} exp z_j``: the sum of all less the class's own, but for the largest
    logit, whose others are summed by themselves. So no difference cancels, at any margin.
    """
    if logits.shape[-1] == 1:
        return jnp.full_like(logits, 1e30) + logits  # less the logarithm of an empty sum
    first = jax.nn.one_hot(jnp.argmax(logits, -1), logits.shape[-1], dtype=bool)
    largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    second = jnp.where(first, -jnp.inf, jax.lax.stop_gradient(logits)).max(-1, keepdims=True)
    powers = jnp.exp(logits - largest)
    of_first = jnp.where(first, 0.0, jnp.exp(jnp.where(first, 0.0, logits - second)))
    others = jnp.where(first, 1.0, powers.sum(-1, keepdims=True) - powers)
    rest = jnp.where(
        first,
        second + jnp.log(of_first.sum(-1, keepdims=True)),
        largest + jnp.log(others),
    )
    return logits - rest


def class_factors(
    owner: object, weights: tuple[float, ...] | None, logits: Float[Array, "b *spatial k"]
) -> Float[Array, "#b *#spatial k"]:
    """``owner``'s class weights, one where it has none, in the shape of one pixel's logits."""
    k = logits.shape[-1]
    if weights is not None and len(weights) != k:
        raise UserError(
            f"{type(owner).__name__}.class_weights has {len(weights)} numbers, "
            f"but the model {k} classes; give one number a class"
        )
    factors = jnp.ones((k,), jnp.float32) if weights is None else jnp.asarray(weights, jnp.float32)
    return factors.reshape(*(1,) * (logits.ndim - 1), k)


def chosen(owner: OfClasses, x: Float[Array, "*n k"]) -> Float[Array, "*n c"]:
    """The part of the last axis, which is all classes, that ``owner.classes`` names."""
    k, wanted = x.shape[-1], owner.classes
    option = f"{type(owner).__name__}.classes"
    if wanted == "foreground":
        require(k > 1, option, wanted, f"another choice for a model of {k} class")
        return x[..., 1:]
    if isinstance(wanted, str):
        return x
    right = bool(wanted) and len({*wanted}) == len(wanted) and all(0 <= c < k for c in wanted)
    require(right, option, wanted, f"different numbers of 0 to {k - 1}")
    return jnp.stack([x[..., c] for c in wanted], -1)
