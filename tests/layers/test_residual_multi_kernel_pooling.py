"""Residual multi-kernel pooling: CE-Net's counts, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.residual_multi_kernel_pooling import ResidualMultiKernelPooling


@pytest.mark.parametrize(("weights", "count"), [("shared", 513), ("separate", 4 * 513)])
def test_the_layer_of_ce_net_has_its_parameters(weights, count):
    layer, x = ResidualMultiKernelPooling(weights=weights), jnp.ones((1, 14, 14, 512))
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    assert sum(a.size for a in jax.tree.leaves(variables)) == count
    assert jax.eval_shape(layer.apply, variables, x).shape == (1, 14, 14, 516)


def test_the_input_comes_last_and_unchanged():
    layer, x = ResidualMultiKernelPooling(), jax.random.normal(jax.random.key(0), (1, 7, 6, 3))
    y = jax.jit(lambda x: layer.init_with_output(jax.random.key(1), x)[0])(x)
    np.testing.assert_array_equal(np.asarray(y[..., 4:]), np.asarray(x))


def test_a_map_smaller_than_a_window_is_refused():
    layer = ResidualMultiKernelPooling(name="rmp")
    with pytest.raises(UserError, match=r"ResidualMultiKernelPooling rmp: .*\(5, 9\).* at least 6"):
        layer.init(jax.random.key(0), jnp.ones((1, 5, 9, 3)))
