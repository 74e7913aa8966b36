"""The dilations of a network's modules, as they are called."""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def dilations(model: nn.Module, name: str) -> list[Any]:
    """Those of the modules whose own name is ``name`` (a pattern), in the order of the calls."""
    found = []

    def note(call, args, kwargs, context):
        if context.method_name == "__call__" and re.fullmatch(name, str(context.module.name)):
            found.append(context.module.dilation)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        x = jnp.zeros((1, 16, 16, 3))
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    return found
