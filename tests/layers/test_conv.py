"""Convolutions; their numbers stand in test_golden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers import Conv, TransposedConv, conv


@pytest.mark.parametrize("channels", [2, 12])
@pytest.mark.parametrize("how", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 2, 2, 1), (2, 0, 1, 1)])
def test_planes_are_the_volume_convolution(channels: int, how: tuple[int, int, int, int]):
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (2, 7, 8, 6, channels))
    kernel = jax.random.normal(keys[1], (3, 3, 3, channels, 4))

    def value_and_gradient(form):
        def total(x, kernel):
            y = form(x, kernel, how)
            return jnp.sin(y).sum(), y

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(x, kernel)

    ours, theirs = value_and_gradient(conv._convolve_planes), value_and_gradient(conv._convolve)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(10, float(abs(b).max())))


@pytest.mark.parametrize("layer", [Conv(256), TransposedConv(256)])
def test_weights_keep_the_mean_square_through_a_relu(layer):
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 12, 12, 128)))
    variables = layer.init(jax.random.key(1), x)
    y = jax.nn.relu(layer.apply(variables, x))[:, 2:-2, 2:-2]  # away from the zeros of padding
    assert jnp.square(y).mean() == pytest.approx(float(jnp.square(x).mean()), rel=0.15)
    assert not variables["params"]["bias"].any()


def test_the_compute_dtype_is_the_inputs():
    x = jnp.zeros((1, 4, 4, 2), jnp.bfloat16)
    y, variables = Conv(3).init_with_output(jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
