"""Softmax attention among tokens, in blocks of queries: no array of queries x keys is ever whole.

Vaswani et al. 2017, equation 1, https://arxiv.org/abs/1706.03762. The rows of the attention map
do not depend on each other, so each block of queries sees all keys at once and its softmax is
the exact one (Rabe & Staats 2021, https://arxiv.org/abs/2112.05682, without their blocks of keys).
The backward pass computes each block again.
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

AT_ONCE = 2**24
"""Numbers of the attention map (over batch, heads and a block of queries) alive at a time."""

SYMBOLIC_BLOCK = 128
"""Queries of a block where the number of tokens is a symbol of ``jax.export``."""


class Weighing(NamedTuple):
    """How the products of queries and keys become weights."""

    scale: float = 1.0
    over: Literal["keys", "pairs"] = "keys"
    dropout: float = 0.0


PLAIN = Weighing()


def attend(
    query: Float[Array, "b n h d"],
    key: Float[Array, "b m h d"],
    value: Float[Array, "b m h e"],
    weighing: Weighing = PLAIN,
    *,
    rng: Array | None = None,
    block: int | None = None,
) -> Float[Array, "b n h e"]:
    """``softmax(scale * query key^T) value`` for each head; products and softmax in float32.

    ``over="pairs"`` makes the whole map of a head sum to one, not each query's row: the
    ``softmax`` of segmentation_models_pytorch's MAnet. ``dropout`` acts on the weights wherever
    an ``rng`` is given. ``block`` is the number of queries a block, by default what fits
    ``AT_ONCE``; where all queries fit, there is one block and nothing is computed twice.

    Of tokens that are split across devices, each block takes as many queries from every one; XLA
    gathers these (not all queries), leaves each device its keys and values, and sums up.
    """
    rows = functools.partial(_attend_rows, key=key, value=value, weighing=weighing, rng=rng)
    n = query.shape[1]
    size = _block_size(query, key) if block is None else block
    if isinstance(n, int) and n <= size:
        y, total = rows(query, jnp.zeros((), jnp.int32))
    else:
        y, total = _in_blocks(rows, query, size)
    if weighing.over == "pairs":
        share = jnp.exp(total - jax.nn.logsumexp(total, axis=1, keepdims=True))
        y = y * share[..., None]
    return y.astype(query.dtype)


def received(
    query: Float[Array, "b n h d"], key: Float[Array, "b m h d"], weighing: Weighing = PLAIN
) -> Float[Array, "b m h"]:
    """The share of all queries' attention that each key gets: sums to one over the keys.

    These are the sums of the map's columns, and the gradient of the values by the sum of
    `attend`: so they come in blocks, too. There is no dropout.
    """
    values = jnp.zeros((*key.shape[:3], 1), jnp.float32)
    weighing = weighing._replace(dropout=0.0)
    y, back = jax.vjp(lambda values: attend(query, key, values, weighing), values)
    sums = back(jnp.ones_like(y))[0][..., 0]
    return sums / sums.sum(1, keepdims=True)


def to_tokens(x: Float[Array, "b *s c"], heads: int = 1) -> Float[Array, "b n h d"]:
    """Pixels in row-major order; head ``i`` has channels ``i d`` to ``(i + 1) d``."""
    n = functools.reduce(lambda a, b: a * b, x.shape[1:-1])  # sizes may be symbols
    return x.reshape(x.shape[0], n, heads, x.shape[-1] // heads)


def to_image(tokens: Float[Array, "b n h d"], size: tuple[Any, ...]) -> Float[Array, "b *s c"]:
    """The inverse of ``to_tokens``: ``size`` is that of the spatial axes."""
    return tokens.reshape(tokens.shape[0], *size, tokens.shape[2] * tokens.shape[3])


def _block_size(query: Array, key: Array) -> int:
    b, n, h, _ = query.shape
    sizes = (b, n, h, key.shape[1])
    if not all(isinstance(size, int) for size in sizes):
        return SYMBOLIC_BLOCK
    most = max(1, AT_ONCE // (b * h * key.shape[1]))
    blocks = -(-n // most)
    return -(-n // blocks)  # of nearly equal size, so that little is padded


def _attend_rows(query, index, *, key, value, weighing: Weighing, rng) -> tuple[Array, Array]:
    """Attention of one block of queries; also the logarithm of each row's sum, ``[b n h]``."""
    products = jnp.einsum("bnhd,bmhd->bhnm", query, key, preferred_element_type=jnp.float32)
    products = products * weighing.scale
    total = jax.nn.logsumexp(products, axis=-1, keepdims=True)
    weights = jnp.exp(products - total)
    if rng is not None and weighing.dropout > 0:
        kept = jax.random.bernoulli(
            jax.random.fold_in(rng, index), 1 - weighing.dropout, weights.shape
        )
        weights = jnp.where(kept, weights / (1 - weighing.dropout), 0.0)
    y = jnp.einsum(
        "bhnm,bmhe->bnhe",
        weights.astype(value.dtype),
        value,
        preferred_element_type=jnp.float32,
    )
    return y, jnp.moveaxis(total[..., 0], 1, -1)


def _in_blocks(rows, query: Array, size: int) -> tuple[Array, Array]:
    b, n, h, d = query.shape
    count = (n + size - 1) // size
    edges = [(0, 0, 0), (0, size * count - n, 0), (0, 0, 0), (0, 0, 0)]
    query = jax.lax.pad(query, jnp.zeros((), query.dtype), edges)
    # Block i takes queries i, i + count, i + 2 count, ...: of tokens that are sharded in order,
    # each device then holds a part of every block, and no block makes XLA gather all queries.
    parts = jnp.moveaxis(query.reshape(b, size, count, h, d), 2, 0)
    step = jax.checkpoint(lambda part: rows(part[1], part[0]), prevent_cse=False)
    parts = jax.lax.map(step, (jnp.arange(count), parts))
    y, total = (jnp.moveaxis(a, 0, 2) for a in parts)
    y, total = (a.reshape(b, size * count, *a.shape[3:]) for a in (y, total))
    return tuple(jax.lax.slice_in_dim(a, 0, n, axis=1) for a in (y, total))  # pyright: ignore
