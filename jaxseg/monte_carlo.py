"""Dropout that stays on in prediction: samples of a trained network, their mean and variance.

Bayesian SegNet, Kendall, Badrinarayanan, Cipolla 2015, https://arxiv.org/abs/1511.02680, section 4:
the mean of the samples' probabilities is predicted, their variance is the model's uncertainty.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxseg.errors import UserError, require


def sample(
    model: Any,
    variables: Any,
    image: Float[Array, "b *spatial c"],
    key: Key[Array, ""],
    **side: Array,
) -> Any:
    """What the network returns with dropout on and all else as in evaluation, norms among it.

    On are whatever drops by `flax.linen.Dropout`: single numbers, channels, residual branches; not
    the weights of an attention. Every image of the batch has draws of its own. Raises UserError for
    a network that drops nothing.
    """
    rates = []

    def kept(call: Callable, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if not isinstance(module, nn.Dropout) or context.method_name != "__call__":
            return call(*args, **kwargs)
        rates.append(module.rate)
        if module.deterministic is False:  # the one that is made in the next line
            return call(*args, **kwargs)
        on = nn.Dropout(module.rate, module.broadcast_dims, deterministic=False, parent=None)
        return on.apply({}, args[0], rng=module.make_rng(module.rng_collection))

    with nn.intercept_methods(kept):
        found = model.apply(variables, image, train=False, rngs={"dropout": key}, **side)
    if not any(rates):
        raise UserError(
            f"{type(model).__name__} drops nothing, so all of its samples are the same; "
            "evaluation.dropout_samples is for networks that were trained with dropout"
        )
    return found


def mean_and_variance(
    model: Any,
    variables: Any,
    image: Float[Array, "b *spatial c"],
    *,
    samples: int = 50,
    key: Key[Array, ""] | None = None,
) -> tuple[Float[Array, "b *out k"], Float[Array, "b *out k"]]:
    """Of the probabilities of that many samples, drawn from ``key`` (None: of seed 0).

    The variance divides by their number. Pure; one pass is compiled, whatever the number.
    """
    require(samples >= 1, "samples", samples, "at least 1")
    keys = jax.random.split(jax.random.key(0) if key is None else key, samples)

    def probabilities(key: Array) -> Array:
        return jax.nn.softmax(sample(model, variables, image, key).logits)

    def more(so_far: tuple, step: tuple) -> tuple[tuple, None]:
        (mean, squares), (count, key) = so_far, step
        found = probabilities(key)
        off = found - mean
        mean = mean + off / count
        return (mean, squares + off * (found - mean)), None

    zeros = jnp.zeros(jax.eval_shape(probabilities, keys[0]).shape)
    counts = jnp.arange(1.0, samples + 1)
    (mean, squares), _ = jax.lax.scan(more, (zeros, zeros), (counts, keys))
    return mean, squares / samples
