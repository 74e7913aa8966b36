"""Dense atrous convolution: CE-Net's counts, the fields of its branches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers.dense_atrous import DenseAtrous


@pytest.mark.parametrize(("weights", "threes", "ones"), [("shared", 3, 1), ("separate", 7, 3)])
def test_the_layer_of_ce_net_has_its_parameters(weights, threes, ones):
    layer, x = DenseAtrous(weights=weights), jnp.ones((1, 14, 14, 512))
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    count = sum(a.size for a in jax.tree.leaves(variables))
    assert count == threes * (9 * 512**2 + 512) + ones * (512**2 + 512)
    if weights == "shared":
        assert count == 7_342_080  # of the authors' code


def test_a_pixel_sees_nineteen_pixels_an_axis():
    layer, x = DenseAtrous(), jnp.ones((1, 25, 25, 1))
    positive = jax.tree.map(lambda a: jnp.abs(a) + 0.1, layer.init(jax.random.key(0), x))
    seen = jax.jit(jax.grad(lambda x: layer.apply(positive, x)[0, 12, 12, 0]))(x)
    rows = np.flatnonzero(np.asarray(seen)[0, ..., 0].any(1))
    assert (rows.min(), rows.max()) == (12 - 9, 12 + 9)  # 1 + 2 (1 + 3 + 5) = 19


def test_a_shared_convolution_runs_once():
    layer, x = DenseAtrous(), jnp.ones((1, 9, 9, 2))
    program = jax.jit(layer.apply).lower(layer.init(jax.random.key(0), x), x).as_text()
    # d1 x, d3 x, d3 d1 x, d5 d3 d1 x; the three 1x1 are matmuls or convolutions
    assert program.count("rhs_dilate = [5, 5]") == 1
    assert program.count("rhs_dilate = [3, 3]") == 2
