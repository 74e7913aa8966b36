import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.losses import order
from jaxseg.losses.order import descending, unordered


@pytest.mark.parametrize("n", [1, 2, 5, 1000, 70_000])
def test_it_is_the_stable_order_of_argsort(n):
    rng = np.random.default_rng(0)
    tied, spread = np.round(rng.normal(size=(2, 3, n)), 1)
    x = np.where(rng.random((3, n)) < 0.5, tied, spread * 10.0 ** rng.integers(-30, 30, (3, n)))
    x = x.astype(np.float32)
    x[0, 0], x[1, 0], x[2, 0] = -np.inf, -0.0, np.inf
    expected = np.argsort(-x, -1, kind="stable")
    np.testing.assert_array_equal(jax.jit(descending)(x), expected)
    np.testing.assert_array_equal(jax.jit(descending)(x[None])[0], expected)  # in parts


def test_longer_rows_take_the_platforms_own_sort(monkeypatch):
    x = jnp.asarray([[0.5, 2.0, -1.0, 2.0]])
    expected = [[1, 3, 0, 2]]
    assert descending(x).tolist() == expected
    monkeypatch.setattr(order, "LONGEST", 2)
    assert descending(x).tolist() == expected


def test_what_was_put_in_order_is_put_back():
    x = jnp.asarray(np.random.default_rng(0).random((2, 3, 50), np.float32))
    order = descending(x)
    np.testing.assert_array_equal(unordered(jnp.take_along_axis(x, order, -1), order), x)


def test_it_maps_over_rows():
    x = jnp.asarray(np.random.default_rng(0).random((4, 9), np.float32))
    np.testing.assert_array_equal(jax.vmap(descending)(x), descending(x))
