"""Activations by name that have no parameters; `layers.activation` has those that learn."""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

Fixed = Literal[
    "none",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "hard_swish",
    "sigmoid",
    "hard_sigmoid",
]

_FUNCTIONS = {
    "none": lambda x: x,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "leaky_relu": nn.leaky_relu,  # slope 0.01
    "elu": nn.elu,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "silu": nn.silu,
    "hard_swish": nn.hard_swish,
    "sigmoid": nn.sigmoid,
    "hard_sigmoid": nn.hard_sigmoid,
}


def activate(x: Float[Array, "..."], kind: Fixed) -> Float[Array, "..."]:
    """The activation of that name, with PyTorch's constants: slope 0.01, GELU by erf."""
    return _FUNCTIONS[kind](x)
