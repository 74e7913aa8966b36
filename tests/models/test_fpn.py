"""Semantic FPN: segmentation_models_pytorch's numbers, and the levels' sizes."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.encoders import ResNet
from jaxseg.models.fpn import FPN

TINY = {"width": 4, "branch_width": 4}


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_a_level_doubles_until_it_has_the_finest_ones_size(output_stride):
    encoder = ResNet(10, width=4, output_stride=output_stride)
    model, x = FPN(2, encoder=encoder, **TINY), jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.float32)
    run = lambda x: model.init_with_output(jax.random.key(0), x, train=False)  # noqa: E731
    prediction, variables = jax.eval_shape(run, x)
    assert prediction.logits.shape == (1, 64, 96, 2)
    convs = {name.split("_")[0]: 0 for name in variables["params"] if "_conv" in name}
    for name in variables["params"]:
        if "_conv" in name:
            convs[name.split("_")[0]] += 1
    doublings = {f"p{i}": (s // 4).bit_length() - 1 for i, s in enumerate(encoder.strides[1:], 2)}
    assert convs == {place: max(1, n) for place, n in doublings.items()}


@pytest.mark.parametrize("smooth", ["conv", "none"])
def test_each_level_ends_in_a_convolution_where_it_is_asked_for(smooth):
    model, x = FPN(2, encoder=ResNet(10, width=4), smooth=smooth, **TINY), jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]
    found = {name for name in params if name.endswith("smooth")}
    assert found == ({f"p{i}_smooth" for i in (2, 3, 4, 5)} if smooth == "conv" else set())
