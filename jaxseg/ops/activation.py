"""Activations by name."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.ops.spread import along_channels

Fixed = Literal[
    "none",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "hard_swish",
    "sigmoid",
    "hard_sigmoid",
    "tanh",
    "mish",
]
"""Activations without parameters."""

_FUNCTIONS = {
    "none": lambda x: x,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "leaky_relu": nn.leaky_relu,  # slope 0.01
    "elu": nn.elu,
    "selu": nn.selu,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "silu": nn.silu,
    "hard_swish": nn.hard_swish,
    "sigmoid": nn.sigmoid,
    "hard_sigmoid": nn.hard_sigmoid,
    "tanh": nn.tanh,
    "mish": jax.nn.mish,
}


def activate(x: Float[Array, "..."], kind: Fixed) -> Float[Array, "..."]:
    """The activation of that name, with PyTorch's constants: slope 0.01, GELU by erf."""
    return _FUNCTIONS[kind](x)


def prelu(x: Float[Array, "*b c"], slope: Float[Array | np.ndarray, " k"]) -> Float[Array, "*b c"]:
    """``x`` where it is positive, ``slope * x`` elsewhere; a slope a channel (k = c), or one.

    Delving Deep into Rectifiers, He et al. 2015, https://arxiv.org/abs/1502.01852, equation 1.
    """
    return jnp.where(x > 0, x, along_channels(slope, x) * x)
