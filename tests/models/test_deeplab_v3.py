"""DeepLab v3: two peers' numbers, two output strides of one set of variables, the cascade."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.models.deeplab_v3 import DeepLabV3
from tests.models.dilations import dilations


def shapes(model, size=(33, 48)):
    x = jnp.zeros((1, *size, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))


def encoder(output_stride, **fields):
    return ResNet(10, width=4, output_stride=output_stride, **fields)


@pytest.mark.parametrize(
    ("fields", "name", "wanted"),
    [
        ({}, r"dilated\d", [6, 12, 18]),
        # figure 3b at output stride 16: blocks 5, 6 and 7 at rates 4, 8 and 16 times (1, 2, 1)
        (
            {"context": "cascade"},
            r"layer[567]_block\d",
            [4, 8, 4, 8, 16, 8, 16, 32, 16],
        ),
        ({"context": "cascade", "cascade": 1, "multi_grid": (1, 2)}, r"layer[567]_.*", [4, 8]),
    ],
)
def test_output_stride_8_takes_the_variables_of_16_and_dilates_twice_as_far(fields, name, wanted):
    of = {s: DeepLabV3(2, encoder(s), width=4, **fields) for s in (16, 8)}
    assert shapes(of[16]) == shapes(of[8])
    assert dilations(of[16], name) == wanted
    assert dilations(of[8], name) == [2 * n for n in wanted]


def test_the_encoders_last_stage_has_its_multi_grid():
    model = DeepLabV3(2, ResNet(50, width=4, output_stride=16, multi_grid=(1, 2, 4)), width=4)
    assert dilations(model, r"layer4_block\d") == [2, 4, 8]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"context": "cascade", "cascade": 0}, "DeepLabV3.cascade=0: must be at least 1"),
        ({"rates": (1, 2), "encoder": encoder(32)}, "multiples of 2 fit"),
    ],
)
def test_what_does_not_fit_is_said(fields, message):
    with pytest.raises(UserError, match=message):
        shapes(DeepLabV3(2, **{"encoder": encoder(16), "width": 4, **fields}))


@pytest.mark.parametrize("feature", [-1, 0, -9])
def test_an_auxiliary_head_needs_a_feature_before_the_last(feature):
    model = DeepLabV3(2, encoder=ResNet(10, 8), auxiliary="head", auxiliary_feature=feature)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    with pytest.raises(UserError, match=rf"auxiliary_feature={feature}: must be -\d to -2"):
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
