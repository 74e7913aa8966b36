"""LR-ASPP: torchvision's numbers, the feature of its second head."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.encoders import MobileNetV3, ResNet
from jaxseg.models.lraspp import LRASPP


@pytest.mark.parametrize(("output_stride", "channels"), [(32, 16), (16, 8), (8, 4)])
def test_the_low_head_is_on_the_last_feature_that_is_finer(output_stride, channels):
    model = LRASPP(2, encoder=ResNet(10, width=4, output_stride=output_stride), width=4)
    x = jnp.zeros((1, 64, 64, 3))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]
    assert params["low_head"]["kernel"].shape == (1, 1, channels, 2)


def test_the_default_has_torchvisions_features():
    encoder = LRASPP(21).encoder
    assert isinstance(encoder, MobileNetV3)
    assert (encoder.output_stride, encoder.tap) == (16, "first")
