"""PAN: segmentation_models_pytorch's numbers, its blocks (whose numbers stand in test_pyramid)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.models.pan import PAN, FeaturePyramidAttention, GlobalAttentionUpsample


def init(layer, *x):
    return jax.eval_shape(lambda: layer.init(jax.random.key(0), *x, train=False))


def test_every_level_has_the_width_of_the_decoder():
    model = PAN(2, encoder=ResNet(10, width=4, output_stride=16), width=6)
    params = init(model, jnp.zeros((1, 32, 32, 3)))["params"]
    found = {i: params[f"gau{i}"]["local_conv"]["kernel"].shape for i in (1, 2, 3)}
    assert found == {1: (3, 3, 4, 6), 2: (3, 3, 8, 6), 3: (3, 3, 16, 6)}
    assert params["fpa"]["main_conv"]["kernel"].shape == (1, 1, 32, 6)


def test_the_attention_of_smp_has_its_parameters():
    layer = FeaturePyramidAttention(32, use_bias=True)
    wide = 2 * (2048 * 32 + 32 + 2 * 32)  # the 1x1 of the global and of the main branch
    first = 2048 * 49 + 1 + 2
    narrow = 2 * 25 + 2 * 9 + 49 + 5 * (1 + 2)  # 5x5 and 3x3 twice, 7x7 on the way up
    params = init(layer, jnp.ones((1, 16, 16, 2048)))["params"]
    assert sum(a.size for a in jax.tree.leaves(params)) == wide + first + narrow


def test_a_closed_gate_leaves_the_upsampled_map():
    layer = GlobalAttentionUpsample()
    low = jax.random.normal(jax.random.key(0), (1, 5, 7, 3))
    high = jax.random.normal(jax.random.key(1), (1, 5, 7, 2))
    variables = jax.jit(lambda *x: layer.init(jax.random.key(2), *x, train=False))(low, high)
    variables["params"]["gate_norm"]["bias"] = jnp.full(2, -1e3)
    y = jax.jit(lambda *x: layer.apply(variables, *x, train=False))(low, high)
    np.testing.assert_array_equal(np.asarray(y), np.asarray(high))


@pytest.mark.parametrize(
    ("layer", "sizes", "message"),
    [
        (FeaturePyramidAttention(4, name="fpa"), ((16, 7),), r"fpa: .*\(16, 7\).* 8 pixels"),
        (FeaturePyramidAttention(4, width=3, name="fpa"), ((8, 8),), "width=3 .*; 1 and 4 do"),
        (GlobalAttentionUpsample(name="gau"), ((4, 4), (2, 2, 2)), "gau: .* number of axes"),
    ],
)
def test_what_does_not_fit_is_said(layer, sizes, message):
    with pytest.raises(UserError, match=message):
        init(layer, *(jnp.ones((1, *size, 3)) for size in sizes))
