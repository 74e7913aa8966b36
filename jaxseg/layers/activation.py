"""Activations, with parameters or without, as modules apply them."""

from typing import Literal, cast

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops.activation import Fixed, activate

Activation = Fixed | Literal["prelu", "prelu_shared"]
"""The activations of `ops.activate`, and PReLU with a slope a channel, or one for all."""

SLOPE = 0.25
"""The slope of a PReLU at first."""


def activated(
    module: nn.Module, x: Float[Array, "b *s c"], kind: Activation
) -> Float[Array, "b *s c"]:
    """``x`` activated; the parameter ``slope``, where there is one, is ``module``'s.

    PReLU, ``max(0, x) + slope min(0, x)``: Delving Deep into Rectifiers, He et al. 2015,
    https://arxiv.org/abs/1502.01852, equation 1. Called inside ``nn.compact``, once a module.
    """
    if kind not in ("prelu", "prelu_shared"):
        return activate(x, cast(Fixed, kind))
    shape = (x.shape[-1],) if kind == "prelu" else (1,)
    slope = module.param("slope", nn.initializers.constant(SLOPE), shape)
    slope = jnp.expand_dims(jnp.asarray(slope, x.dtype), tuple(range(x.ndim - 1)))
    return jnp.where(x > 0, x, slope * x)
