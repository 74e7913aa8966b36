"""The inverted residual block; numbers of PyTorch: test_attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers.inverted_residual import InvertedResidual
from jaxseg.layers.squeeze_excitation import SqueezeExcitation

KEY = jax.random.key(0)


def shapes(layer: InvertedResidual, channels: int) -> dict:
    x = jnp.zeros((1, 8, 8, channels))
    made = jax.eval_shape(lambda: layer.init(KEY, x, train=False))["params"]
    return jax.tree.map(lambda a: a.shape, made)


def test_it_has_the_kernels_of_mobilenet_v2_and_leaves_out_an_expansion_by_one():
    made = shapes(InvertedResidual(24, 96, stride=2), 16)
    assert made["expand_conv"] == {"kernel": (1, 1, 16, 96)}
    assert made["depthwise_conv"] == {"kernel": (3, 3, 1, 96)}
    assert made["project_conv"] == {"kernel": (1, 1, 96, 24)}
    assert "expand_conv" not in shapes(InvertedResidual(16, 32), 32)


def test_it_has_the_kernels_of_mobilenet_v3():
    squeeze = SqueezeExcitation(width=24, gate="hard_sigmoid")
    made = shapes(InvertedResidual(40, 72, 5, stride=2, squeeze=squeeze), 24)
    assert made["depthwise_conv"]["kernel"] == (5, 5, 1, 72)
    assert made["squeeze"]["reduce"] == {"kernel": (1, 1, 72, 24), "bias": (24,)}
    assert made["squeeze"]["expand"] == {"kernel": (1, 1, 24, 72), "bias": (72,)}


@pytest.mark.parametrize(
    ("layer", "kept"),
    [
        (InvertedResidual(8, 16), True),
        (InvertedResidual(8, 16, dilation=2), True),
        (InvertedResidual(8, 16, stride=2), False),
        (InvertedResidual(6, 16), False),
    ],
)
def test_the_input_is_added_where_the_shape_is_kept(layer: InvertedResidual, kept: bool):
    x = jax.random.normal(KEY, (2, 6, 5, 8))
    variables = layer.init(KEY, x, train=False)
    scale = variables["params"]["project_norm"]["scale"]
    variables["params"]["project_norm"]["scale"] = jnp.zeros_like(scale)
    y = layer.apply(variables, x, train=False)
    np.testing.assert_array_equal(y, x if kept else jnp.zeros_like(y))


def test_its_norms_forget_as_told():
    x = jax.random.normal(KEY, (2, 6, 5, 8))
    layer = InvertedResidual(8, 16, momentum=0.5)
    variables = layer.init(KEY, x, train=False)
    _, new = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    kernel = variables["params"]["expand_conv"]["kernel"][0, 0]
    expected = 0.5 * (x @ kernel).mean((0, 1, 2))
    np.testing.assert_allclose(new["batch_stats"]["expand_norm"]["mean"], expected, atol=1e-5)
