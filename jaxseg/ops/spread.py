"""One number for many pixels, with a gradient that sums over these in float32.

JAX sums the gradient of a broadcast in the dtype of the map. In bfloat16, which has eight binary
digits, such a sum stands still once it is 256 times as large as what is added.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def spread(x: Float[Array, "..."], shape: tuple[Any, ...], dtype: Any) -> Float[Array, "..."]:
    """``x``, whose axes of size one are repeated to ``shape``, in ``dtype``."""
    y: Any = _spread(x, shape, jnp.dtype(dtype))
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _spread(x: Array, shape: tuple[Any, ...], dtype: Any) -> Array:
    return jnp.broadcast_to(x.astype(dtype), shape)


def _forward(x: Array, shape: tuple[Any, ...], dtype: Any) -> tuple[Array, Array]:
    return jnp.broadcast_to(x.astype(dtype), shape), x


def _backward(shape: tuple[Any, ...], dtype: Any, x: Array, above: Array) -> tuple[Array]:
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    wide = jnp.promote_types(dtype, jnp.float32)
    return (above.astype(wide).sum(axes, keepdims=True).astype(x.dtype),)


_spread.defvjp(_forward, _backward)


def mean_over_space(x: Float[Array, "b *s c"]) -> Float[Array, "b *t c"]:
    """The mean over all pixels, one pixel large, in float32 whatever the dtype of x.

    What follows costs nothing on so small a map, so it stays in float32 up to `spread`.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return x.mean(range(1, x.ndim - 1), keepdims=True, dtype=wide)


def along_channels(
    parameter: Float[Array | np.ndarray, " k"], like: Float[Array, "*b c"]
) -> Float[Array, "*b c"]:
    """``parameter`` (one a channel, or one for all) at each pixel of a map, in that map's dtype."""
    parameter = jnp.expand_dims(parameter, tuple(range(like.ndim - 1)))
    return spread(parameter, like.shape, like.dtype)
