"""Pyramid pooling: its counts, what a bin sees, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.pyramid_pooling import PyramidPooling


def make(layer, x):
    return jax.jit(lambda x: layer.init(jax.random.key(1), x, train=False))(x)


def test_the_module_of_pspnet_doubles_the_channels():
    layer, x = PyramidPooling(), jax.ShapeDtypeStruct((1, 60, 60, 2048), jnp.float32)
    variables = jax.eval_shape(lambda x: make(layer, x), x)
    sizes = [a.size for a in jax.tree.leaves(variables["params"])]
    assert sum(sizes) == 4 * (2048 * 512 + 2 * 512)
    y = jax.eval_shape(lambda v, x: layer.apply(v, x, train=False), variables, x)
    assert y.shape == (1, 60, 60, 4096)


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("size", [(6, 6), (5, 13), (2, 3), (4, 3, 5)])
def test_a_map_of_any_size_keeps_it(size, pool):
    layer, x = PyramidPooling(pool=pool), jnp.ones((1, *size, 4))
    y = jax.jit(lambda v, x: layer.apply(v, x, train=False))(make(layer, x), x)
    assert y.shape == (1, *size, 8)


def test_the_input_is_kept_where_the_order_says():
    x = jax.random.normal(jax.random.key(0), (1, 6, 7, 4))
    for order, part in (("input_first", slice(0, 4)), ("input_last", slice(4, 8))):
        layer = PyramidPooling(order=order)
        y = jax.jit(lambda v, x, layer=layer: layer.apply(v, x, train=False))(make(layer, x), x)
        np.testing.assert_array_equal(np.asarray(y[..., part]), np.asarray(x))


def test_the_single_bin_is_the_same_everywhere():
    x = jax.random.normal(jax.random.key(0), (2, 6, 7, 4))
    layer = PyramidPooling(bins=(1,))
    y = np.asarray(layer.apply(make(layer, x), x, train=False))[..., 4:]
    assert np.ptp(y, axis=(1, 2)).max() == 0 and np.ptp(y) > 0


def test_channels_that_cannot_be_shared_out_are_refused():
    with pytest.raises(UserError, match="PyramidPooling ppm: 3 channels .* bins=.*; set features"):
        make(PyramidPooling(name="ppm"), jnp.ones((1, 6, 6, 3)))
