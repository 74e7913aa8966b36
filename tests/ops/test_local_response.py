"""Normalisation of a channel by its neighbours."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.ops import local_response


def test_a_channel_is_divided_by_what_lies_around_it():
    x = jnp.arange(1.0, 7).reshape(1, 1, 1, 6)
    sums = np.array([1 + 4 + 9, 1 + 4 + 9 + 16, 55, 90, 9 + 16 + 25 + 36, 16 + 25 + 36])
    by_hand = np.arange(1, 7) / (2 + 0.5 / 5 * sums) ** 0.75
    np.testing.assert_allclose(local_response(x, alpha=0.5, k=2.0)[0, 0, 0], by_hand, rtol=1e-5)


def test_half_precision_stays_half_precision_and_close():
    x = 10 * jax.random.normal(jax.random.key(0), (2, 3, 4, 7))
    y = local_response(x.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), local_response(x), rtol=2e-2, atol=1e-2)
