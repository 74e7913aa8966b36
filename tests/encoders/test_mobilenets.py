"""MobileNets and EfficientNet-Lite: which maps are features, and what dilation does to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders import EfficientNetLite, MobileNetV2, MobileNetV3
from jaxseg.encoders.dilation import Place, places
from jaxseg.layers import Conv


def shapes(encoder, size=(64, 64)):
    x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    features, variables = jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x
    )
    return [f.shape[1:] for f in features], variables


@pytest.mark.parametrize(
    ("encoder", "channels"),
    [
        (MobileNetV2(), [16, 24, 32, 96, 1280]),
        (MobileNetV3(), [16, 24, 40, 112, 960]),
        (MobileNetV3(tap="first"), [16, 24, 40, 80, 960]),
        (EfficientNetLite(), [32, 24, 40, 112, 320]),
    ],
)
def test_features_have_the_channels_of_segmentation_models_pytorchs(encoder, channels):
    found, variables = shapes(encoder)
    assert found == [(32 // 2**i, 32 // 2**i, c) for i, c in enumerate(channels)]
    dilated, same = shapes(encoder.clone(output_stride=8))
    assert [c for *_, c in dilated] == channels and same == variables
    assert [h for h, *_ in dilated] == [32, 16, 8, 8, 8]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_finest_features_that_the_strided_blocks_give_need_nothing_behind_them(count):
    encoder, x = MobileNetV3(tap="first"), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    features, variables = jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False, count=count), x
    )
    assert [f.shape[-1] for f in features] == [16, 24, 40, 80, 960][:count]
    blocks = {1: 0, 2: 2, 5: 15}[count]
    last = ["last_conv"] if count == 5 else []
    wanted = {"stem_conv", *(f"block{i + 1}" for i in range(blocks)), *last}
    assert set(variables["params"]) == wanted


def test_what_is_no_stride_any_more_is_a_dilation_of_all_that_follows():
    found = places((1, 2, 1, 2, 2, 1), output_stride=8)
    assert found == (
        Place(1, 1, False, True),
        Place(2, 1, True, False),
        Place(1, 1, False, True),
        Place(2, 1, True, True),
        Place(1, 2, True, False),
        Place(1, 2, False, True),
    )


@pytest.mark.parametrize("size", [(8, 9), (7, 12)])
@pytest.mark.parametrize(
    "fields", [{"stride": 2}, {"kernel_size": 5, "stride": 2}, {"dilation": 2}]
)
def test_same_is_the_padding_of_tensorflow(fields, size):
    x = jax.random.normal(jax.random.key(0), (1, *size, 2))
    conv = Conv(3, padding="same", use_bias=False, **fields)
    variables = conv.init(jax.random.key(1), x)
    wanted = jax.lax.conv_general_dilated(
        x,
        variables["params"]["kernel"],
        (fields.get("stride", 1),) * 2,
        "SAME",
        rhs_dilation=(fields.get("dilation", 1),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(conv.apply(variables, x), wanted, atol=1e-5)
