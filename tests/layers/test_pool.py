"""Max pooling; its numbers stand in test_golden."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.layers import max_pool


def test_padding_never_wins():
    assert (max_pool(-jnp.ones((1, 4, 4, 1)), 3, stride=2, padding=1) == -1).all()


def test_half_precision_stays_half_precision():
    assert max_pool(jnp.zeros((1, 4, 4, 1), jnp.bfloat16)).dtype == jnp.bfloat16


def test_an_odd_row_is_left_out():
    x = jnp.zeros((1, 5, 5, 1)).at[0, 4].set(9)
    assert max_pool(x).shape == (1, 2, 2, 1) and (max_pool(x) == 0).all()


def test_rows_on_four_devices_give_the_gradient_of_one():
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, P(None, "rows"))
    x = jax.random.normal(jax.random.key(0), (2, 32, 6, 3))

    def gradient(x):
        return jax.grad(lambda x: jnp.sin(max_pool(x, 3, stride=2, padding=1)).sum())(x)

    one = jax.jit(gradient)(x)
    np.testing.assert_allclose(jax.jit(gradient, in_shardings=rows)(x), one, atol=1e-6)
