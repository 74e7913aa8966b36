"""The order of a row's numbers by size, in the form that is fast on each platform."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

LONGEST = 2**22
"""Numbers in a row up to which packed words are tried."""

PARTS = 4
"""Sorts that run at a time on CPU."""


def descending(x: Float[Array, "*rows n"]) -> Int[Array, "*rows n"]:
    """Indices of each row's numbers, largest first; equal ones in the order they have."""
    if x.shape[-1] > LONGEST or x.dtype != jnp.float32:
        return jnp.argsort(-x, axis=-1)
    return jax.lax.platform_dependent(x, cpu=_in_parts, default=lambda x: jnp.argsort(-x, axis=-1))


def unordered(y: Float[Array, "*rows n"], order: Int[Array, "*rows n"]) -> Float[Array, "*rows n"]:
    """The inverse of taking ``y`` in this ``order``: its numbers back in their own places."""
    rows, places = (x.reshape(-1, x.shape[-1]) for x in (y, order))

    def row(y: Array, place: Array) -> Array:
        back = jnp.zeros_like(y).at[place]
        return back.set(y, unique_indices=True, mode="promise_in_bounds")

    return jax.vmap(row)(rows, places).reshape(y.shape)


def _in_parts(x: Float[Array, "*rows n"]) -> Int[Array, "*rows n"]:
    """The order of ``[b k n]``, class by class on several cores: XLA:CPU gives a sort only one.

    Not split by the batch, whose rows may lie on several devices.
    """
    if x.ndim < 3:
        return _by_words(x)
    parts = jnp.array_split(x, min(PARTS, x.shape[-2]), axis=-2)
    return jnp.concatenate([_by_words(part) for part in parts], axis=-2)


def _by_words(x: Float[Array, "*rows n"]) -> Int[Array, "*rows n"]:
    """The order by sorts of the numbers' digits, each with its place in the word's low bits.

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
        word = ((digits >> shift) << low) | place  # what is shifted out is sorted later
        at = (jax.lax.sort(word, is_stable=False) & ((1 << low) - 1)).astype(jnp.int32)
        digits, order = (jnp.take_along_axis(y, at, -1) for y in (digits, order))
    return order.astype(jnp.int32)
