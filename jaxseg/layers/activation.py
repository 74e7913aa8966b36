"""Activations by name, also those that are trained."""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops import activate, prelu
from jaxseg.ops.activation import Fixed

Activation = Literal[Fixed, "prelu", "prelu_shared"]
"""``prelu`` has a slope a channel, ``prelu_shared`` one for all (PyTorch's default)."""


def activated(
    module: nn.Module, x: Float[Array, "*b c"], kind: Activation, name: str = "slope"
) -> Float[Array, "*b c"]:
    """``x`` activated; a slope is the parameter ``name`` of ``module``, 0.25 at first."""
    if kind != "prelu" and kind != "prelu_shared":
        return activate(x, kind)
    channels = x.shape[-1] if kind == "prelu" else 1
    slope = module.param(name, nn.initializers.constant(0.25), (channels,), jnp.float32)
    return prelu(x, slope)
