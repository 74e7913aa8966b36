"""Convolution, norm and activation in one."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.layers import ConvNorm


def test_epsilon_and_momentum_are_the_norms():
    x = jnp.array([[-1.0], [3.0]]).reshape(1, 2, 1)  # mean 1, variance 4
    layer = ConvNorm(1, kernel_size=1, activation="none", epsilon=5.0, momentum=0.75)
    variables = layer.init(jax.random.key(0), x, train=True)
    variables["params"]["conv"]["kernel"] = jnp.ones((1, 1, 1))
    y, updated = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y[0, :, 0], [-2 / 3, 2 / 3], rtol=1e-6)  # of the root of 4 + 5
    moments = updated["batch_stats"]["norm"]
    np.testing.assert_allclose(moments["mean"], [0.25 * 1], rtol=1e-6)
    np.testing.assert_allclose(moments["var"], [0.75 * 1 + 0.25 * 4], rtol=1e-6)
