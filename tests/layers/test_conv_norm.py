"""Convolution, norm and activation in one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


@pytest.mark.parametrize(("fields", "has"), [({}, False), ({"use_bias": True}, True)])
def test_a_bias_before_a_norm_is_asked_for(fields, has):
    x = jnp.zeros((1, 4, 1))
    assert ("bias" in params_of(ConvNorm(1, **fields), x)["conv"]) == has
    assert "bias" in params_of(ConvNorm(1, norm="none", **fields), x)["conv"]


def params_of(layer, x):
    return jax.eval_shape(lambda: layer.init(jax.random.key(0), x, train=False))["params"]
