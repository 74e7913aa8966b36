"""Normalisation of a channel by its neighbours, as before batch norm."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def local_response(
    x: Float[Array, "*b c"],
    window: int = 5,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Float[Array, "*b c"]:
    """``x / (k + alpha / window * s) ** beta``, ``s`` the sum of squares of ``window`` channels.

    These lie around each channel, fewer at either end. Krizhevsky et al. 2012, section 3.3; the
    division of ``alpha`` by the window is Caffe's and PyTorch's, and not TensorFlow's.
    """
    squares = jnp.square(x.astype(jnp.float32))
    before = window // 2
    edges = [(0, 0, 0)] * (x.ndim - 1) + [(before, window - 1 - before, 0)]
    around = jax.lax.pad(squares, jnp.zeros((), squares.dtype), edges)
    taps = [jax.lax.slice_in_dim(around, i, i + x.shape[-1], axis=-1) for i in range(window)]
    total = sum(taps[1:], start=taps[0])
    return (x * (k + alpha / window * total) ** -beta).astype(x.dtype)
