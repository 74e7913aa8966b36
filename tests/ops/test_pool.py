"""Pooling and unpooling; their numbers stand in test_golden and test_sampling_golden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError
from jaxseg.ops import (
    adaptive_average_pool,
    average_pool,
    max_pool,
    max_pool_with_indices,
    max_unpool,
    pool,
)

LAYERS = {
    "max": lambda x: max_pool(x),
    "max_stem": lambda x: max_pool(x, 3, stride=2, padding=1),
    "max_same": lambda x: max_pool(x, 3, stride=1, padding=1),
    "average": lambda x: average_pool(x),
    "average_same": lambda x: average_pool(x, 3, stride=1, padding=1, count_include_pad=False),
    "adaptive": lambda x: adaptive_average_pool(x, 3),
    "adaptive_one": lambda x: adaptive_average_pool(x, 1),
    "unpool": lambda x: max_unpool(*max_pool_with_indices(x), x.shape[1:-1]),
}


def image(*shape):
    return jax.random.normal(jax.random.key(0), shape)


def test_padding_never_wins():
    assert (max_pool(-jnp.ones((1, 4, 4, 1)), 3, stride=2, padding=1) == -1).all()


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_half_precision_stays_half_precision_and_close(layer):
    x = image(1, 6, 7, 2)
    y = layer(x.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), layer(x), atol=5e-2)


def test_an_odd_row_is_left_out():
    x = jnp.zeros((1, 5, 5, 1)).at[0, 4].set(9)
    assert max_pool(x).shape == (1, 2, 2, 1) and (max_pool(x) == 0).all()


def test_rounding_up_keeps_the_odd_row():
    x = jnp.zeros((1, 5, 5, 1)).at[0, 4].set(9)
    y = max_pool(x, ceil_mode=True)
    assert y.shape == (1, 3, 3, 1) and (y[:, 2] == 9).all()


def test_a_large_window_has_the_winners_of_xlas_own_pooling():
    x = jnp.round(image(1, 13, 20, 2))  # with ties
    window, edges = (9, 8), ((2, 2), (1, 1))

    def gradient(form):
        return jax.jit(jax.grad(lambda x: jnp.sin(form(x)).sum()))(x)

    large = gradient(lambda x: max_pool(x, window, stride=(3, 2), padding=(2, 1)))
    own = gradient(lambda x: pool._reduce_window(window, (3, 2), edges, x))
    np.testing.assert_allclose(large, own, atol=1e-6)


def test_unpooling_puts_each_maximum_back_where_it_was():
    x = jax.random.permutation(jax.random.key(0), 7 * 9 * 2).reshape(1, 7, 9, 2).astype(float)
    y, index = max_pool_with_indices(x, ceil_mode=True)
    back = max_unpool(y, index, (7, 9))
    assert index.dtype == jnp.uint8
    assert jnp.isin(y, x).all() and (jnp.sort(back[back != 0]) == jnp.sort(y[y != 0])).all()
    assert ((back == x) | (back == 0)).all()
    np.testing.assert_array_equal(y, max_pool(x, ceil_mode=True))


def test_the_indexed_pooling_has_the_gradient_of_the_plain_one():
    x = jnp.round(image(1, 7, 6, 2))  # with ties

    def gradient(pool):
        return jax.grad(lambda x: jnp.sin(pool(x)).sum())(x)

    plain = gradient(lambda x: max_pool(x, 3, padding=1, ceil_mode=True))
    indexed = gradient(lambda x: max_pool_with_indices(x, 3, padding=1, ceil_mode=True)[0])
    np.testing.assert_array_equal(plain, indexed)


@pytest.mark.parametrize(("rows", "devices"), [(16, 2), (24, 4), (32, 8)])
@pytest.mark.parametrize("name", LAYERS)
def test_rows_on_several_devices_give_the_gradient_of_one(name: str, devices: int, rows: int):
    mesh = jax.make_mesh((devices,), ("rows",), axis_types=(AxisType.Auto,))
    sharded = NamedSharding(mesh, P(None, "rows"))
    x = image(2, rows, 6, 3)

    def gradient(x):
        return jax.grad(lambda x: jnp.sin(LAYERS[name](x)).sum())(x)

    one = jax.jit(gradient)(x)
    np.testing.assert_allclose(jax.jit(gradient, in_shardings=sharded)(x), one, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_a_batch_mapped_one_by_one_gives_the_same_gradient(name: str):
    x = image(3, 6, 7, 2)

    def gradient(x):
        return jax.grad(lambda x: jnp.sin(LAYERS[name](x)).sum())(x)

    one_by_one = jax.jit(jax.vmap(lambda x: gradient(x[None])[0]))(x)
    np.testing.assert_allclose(one_by_one, jax.jit(gradient)(x), atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_free_sizes_can_be_exported(name: str):
    h, w = export.symbolic_shape("h, w", constraints=["h >= 4", "w >= 4"])
    if name == "unpool":  # that every free size is covered cannot be proven, but of even ones
        h, w = 2 * h, 2 * w
    exported = export.export(jax.jit(LAYERS[name]), platforms=["cpu", "cuda"])(
        jax.ShapeDtypeStruct((1, h, w, 2), jnp.float32)
    )
    x = image(1, 8, 10, 2)
    np.testing.assert_allclose(exported.call(x), LAYERS[name](x), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layer", "said"),
    [
        ("max_pool", lambda x: max_pool(x, 5), r"window=\(5, 5\) .*\(4, 6\).* up to \(4, 6\)"),
        ("max_pool", lambda x: max_pool(x, 2, padding=2), r"more than half .* \(1, 1\) fits"),
        ("max_pool", lambda x: max_pool(x, (2, 2, 2)), "3 numbers; the image has 2 axes"),
        ("average_pool", lambda x: average_pool(x, (2, 7)), "does not fit"),
        ("adaptive_average_pool", lambda x: adaptive_average_pool(x, 0), "at least 1"),
        (
            "max_pool_with_indices",
            lambda x: max_pool_with_indices(x, 3, stride=2),
            r"side by side, .* stride=\(3, 3\) fits",
        ),
        (
            "max_unpool",
            lambda x: max_unpool(x, x.astype(jnp.uint8), (8, 14)),
            r"size=\(8, 14\) does not pool to \(4, 6\) .* from \(7, 11\) to \(9, 13\) do",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(name, layer, said):
    with pytest.raises(UserError, match=f"^{name}: .*{said}") as refused:
        layer(jnp.zeros((1, 4, 6, 1)))
    assert "\n" not in str(refused.value)
