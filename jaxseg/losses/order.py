"""The order of a row's numbers by size, in the form that is fast on each platform."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

LONGEST = 2**22
"""Numbers in a row up to which packed words are tried."""


def descending(x: Float[Array, "*rows n"]) -> Int[Array, "*rows n"]:
    """Indices of each row's numbers, largest first; equal ones in the order they have."""
    if x.shape[-1] > LONGEST or x.dtype != jnp.float32:
        return jnp.argsort(-x, axis=-1)
    return jax.lax.platform_dependent(x, cpu=_by_words, default=lambda x: jnp.argsort(-x, axis=-1))


def _by_words(x: Float[Array, "*rows n"]) -> Int[Array, "*rows n"]:
    """Sorts digits of the numbers with their places in the low bits of the same word.

    XLA:CPU sorts lone integers several times faster than floats or pairs (2.7 million numbers in
    rows of 65536 on one core: 0.11 s a pass, of which these take two, against 0.69 s of argsort).
    """
    n = x.shape[-1]
    bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)  # -0 is 0
    negative = bits >> 31 > 0
    digits = jnp.where(negative, bits, ~(bits | jnp.uint32(1 << 31)))  # ascending: largest first
    low = max((n - 1).bit_length(), 1)
    width = 32 - low
    place = jnp.broadcast_to(jnp.arange(n, dtype=jnp.uint32), x.shape)
    order = place
    for shift in range(0, 32, width):  # least digit first: each sort keeps the order of the last
        word = ((digits >> shift) << low) | place  # what is shifted out were sorted later
        at = (jax.lax.sort(word, is_stable=False) & ((1 << low) - 1)).astype(jnp.int32)
        digits, order = (jnp.take_along_axis(y, at, -1) for y in (digits, order))
    return order.astype(jnp.int32)
