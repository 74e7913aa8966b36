"""Feature pyramid attention: counts of SMP's PAN, bad input."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.feature_pyramid_attention import FeaturePyramidAttention


def init(layer, x):
    return jax.eval_shape(lambda: layer.init(jax.random.key(0), x, train=False))


def test_the_layer_of_smp_has_its_parameters():
    layer = FeaturePyramidAttention(32, use_bias=True)
    variables = init(layer, jnp.ones((1, 16, 16, 2048)))
    wide = 2 * (2048 * 32 + 32 + 2 * 32)  # the 1x1 of the global and of the main branch
    first = 2048 * 49 + 1 + 2
    narrow = 2 * 25 + 2 * 9 + 49 + 5 * (1 + 2)  # 5x5 and 3x3 twice, 7x7 on the way up
    assert sum(a.size for a in jax.tree.leaves(variables["params"])) == wide + first + narrow


def test_a_map_that_cannot_be_halved_three_times_is_refused():
    with pytest.raises(UserError, match=r"FeaturePyramidAttention fpa: .*\(16, 7\).* 8 pixels"):
        init(FeaturePyramidAttention(4, name="fpa"), jnp.ones((1, 16, 7, 3)))


def test_a_width_that_cannot_weigh_the_features_is_refused():
    with pytest.raises(UserError, match="FeaturePyramidAttention fpa: width=3 .*; 1 and 4 do"):
        init(FeaturePyramidAttention(4, width=3, name="fpa"), jnp.ones((1, 8, 8, 3)))
