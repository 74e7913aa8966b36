"""DeepLab v3+: segmentation_models_pytorch's numbers, two output strides, the cell, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders import Plain, ResNet
from jaxseg.errors import UserError
from jaxseg.models import DeepLabV3Plus
from tests.models.dilations import dilations

SMALL = {"width": 4, "low_level_width": 3}


def encoder(output_stride):
    return ResNet(10, width=4, output_stride=output_stride)


def shapes(model, size=(33, 48)):
    x = jnp.zeros((1, *size, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))


@pytest.mark.parametrize(
    ("context", "rates"),
    [("aspp", [6, 12, 18]), ("dpc", [(1, 6), (18, 15), (6, 3), (1, 1), (6, 21)])],
)
def test_output_stride_8_takes_the_variables_of_16_and_rates_twice_as_large(context, rates):
    of = {s: DeepLabV3Plus(2, encoder(s), context=context, **SMALL) for s in (16, 8)}
    assert shapes(of[16]) == shapes(of[8])
    for stride, model in of.items():
        found = dilations(model, r"(dilated|branch)\d")
        np.testing.assert_array_equal(found, np.array(rates) * 16 // stride)


def test_the_cell_has_its_parameters():
    # 2048 -> 256 and four times 256 -> 256, each with a norm after both halves; a projection
    def separable(channels):
        return 9 * channels + 2 * channels + 256 * channels + 2 * 256

    cell = separable(2048) + 4 * separable(256) + 5 * 256 * 256 + 2 * 256
    params = shapes(DeepLabV3Plus(21, context="dpc"))["params"]["dpc"]
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)) == cell


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder": Plain((4, 6))}, r"encoder: its features have strides \(1, 2\); one of 4"),
        ({"rates": (5,), "encoder": encoder(32)}, r"rates=\(5,\): .* multiples of 2 fit"),
    ],
)
def test_what_does_not_fit_is_said(fields, message):
    with pytest.raises(UserError, match=message):
        shapes(DeepLabV3Plus(2, **SMALL, **fields))
