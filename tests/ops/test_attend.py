"""Attention in blocks is attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxseg.ops import Weighing, attend, received, to_image, to_tokens


def tokens(n: int = 10, m: int = 7, b: int = 2, h: int = 3) -> tuple[jax.Array, ...]:
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((b, n, h, 4), (b, m, h, 4), (b, m, h, 5))
    return tuple(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True))


def whole(query, key, value, weighing: Weighing):
    products = weighing.scale * np.einsum("bnhd,bmhd->bhnm", query, key)
    weights = np.exp(products)
    axes = (-1,) if weighing.over == "keys" else (-2, -1)
    return np.einsum("bhnm,bmhe->bnhe", weights / weights.sum(axes, keepdims=True), value)


@pytest.mark.parametrize("block", [None, 1, 4, 5, 10])
@pytest.mark.parametrize("over", ["keys", "pairs"])
def test_blocks_of_any_size_give_the_softmax_of_the_whole(block, over):
    weighing = Weighing(scale=0.7, over=over)
    arrays = tokens()
    y = jax.jit(lambda *a: attend(*a, weighing, block=block))(*arrays)
    np.testing.assert_allclose(y, whole(*map(np.asarray, arrays), weighing), atol=1e-5)


@pytest.mark.parametrize("over", ["keys", "pairs"])
def test_what_keys_receive_is_the_mean_of_the_rows_of_the_map(over):
    weighing = Weighing(0.7, over, dropout=0.5)
    query, key, _ = tokens()
    eye = np.broadcast_to(np.eye(7)[None, :, None], (2, 7, 3, 7))
    rows = whole(*map(np.asarray, (query, key)), eye, weighing)  # [b n h m]
    wanted = np.moveaxis(rows.sum(1) / rows.sum((1, 3))[..., None], 1, 2)
    found = jax.jit(lambda *a: received(*a, weighing))(query, key)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("over", ["keys", "pairs"])
def test_the_gradient_of_blocks_is_that_of_the_whole(over):
    def gradients(block):
        def loss(*a):
            return jnp.sin(attend(*a, Weighing(0.5, over), block=block)).sum()

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*tokens())

    for ours, theirs in zip(gradients(3), gradients(None), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("n", "block"), [(64, 16), (60, 25)])
def test_blocks_of_sharded_tokens_give_the_same_output_and_gradients(n: int, block: int):
    mesh = jax.make_mesh((4,), ("spatial",), axis_types=(jax.sharding.AxisType.Auto,))
    shared = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "spatial"))

    def loss(*a):
        y = attend(*a, block=block)
        return jnp.sin(y).sum(), y

    step = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    arrays = tokens(n=n, m=n)
    expected = jax.tree.leaves(step(*arrays))
    sharded = jax.tree.leaves(step(*(jax.device_put(a, shared) for a in arrays)))
    for ours, theirs in zip(sharded, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_large_products_do_not_overflow():
    query, key, value = tokens()
    y = attend(1e3 * query, 1e3 * key, value)
    assert bool(jnp.isfinite(y).all())


def test_memory_grows_with_the_number_of_tokens_and_not_with_its_square():
    def temporary(n: int) -> int:
        def loss(*a):
            return attend(*a).sum()

        token = jax.ShapeDtypeStruct((1, n, 1, 8), "float32")
        step = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
        return step.lower(token, token, token).compile().memory_analysis().temp_size_in_bytes

    small, large = temporary(2**14), temporary(2**16)
    assert large < 4 * small
    assert large < 4 * 2**32 / 16  # of the 16 GiB that all pairs take


def test_dropout_keeps_the_mean_and_drops_the_same_weights_backwards():
    query, key, _ = tokens(n=40, m=50)
    value = jnp.ones((2, 50, 3, 1))
    weighing = Weighing(dropout=0.5)

    def function(value):
        return attend(query, key, value, weighing, rng=jax.random.key(1), block=7)

    y, back = jax.vjp(jax.jit(function), value)
    assert abs(float(y.mean()) - 1) < 0.05
    assert float(y.std()) > 0.05
    # y is linear in the values, so <w, y> is <transpose(w), value> if both saw the same weights
    w = jax.random.normal(jax.random.key(2), y.shape)
    np.testing.assert_allclose((back(w)[0] * value).sum(), (w * y).sum(), rtol=1e-4)
    np.testing.assert_allclose(attend(query, key, value, weighing), jnp.ones_like(y), rtol=1e-5)


def test_a_block_without_padding_costs_what_the_equation_says():
    from jaxseg.cost import macs

    a = jax.ShapeDtypeStruct((1, 2**14, 1, 8), "float32")  # in 16 blocks
    assert macs(attend, a, a, a) == 2 * 2**28 * 8


def test_unknown_numbers_of_tokens_can_be_exported():
    n, m = export.symbolic_shape("n, m")
    shapes = ((2, n, 3, 4), (2, m, 3, 4), (2, m, 3, 5))
    exported = export.export(jax.jit(attend))(
        *(jax.ShapeDtypeStruct(shape, "float32") for shape in shapes)
    )
    arrays = tokens(n=300, m=20)
    expected = whole(*map(np.asarray, arrays), Weighing())
    np.testing.assert_allclose(exported.call(*arrays), expected, atol=1e-5)


def test_tokens_are_pixels_in_row_major_order_and_heads_are_runs_of_channels():
    x = jnp.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    t = to_tokens(x, heads=2)
    assert t.shape == (2, 12, 2, 3)
    np.testing.assert_array_equal(t[1, 5, 1], x[1, 1, 1, 3:])
    np.testing.assert_array_equal(to_image(t, (3, 4)), x)
