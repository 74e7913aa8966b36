"""UPerNet: segmentation_models_pytorch's numbers; what is enlarged before it is convolved."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.encoders import ResNet
from jaxseg.models.upernet import UPerNet


@pytest.mark.parametrize(
    ("reduced", "pixels"), [("enlarged", 4 * 8 * 8), ("pooled", 1 + 4 + 9 + 36)]
)
def test_the_bins_are_convolved_at_the_size_they_are_reduced_at(reduced, pixels):
    x = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)

    def macs(bins):
        model = UPerNet(2, encoder=ResNet(10, width=4), width=4, bins=bins, reduced=reduced)
        variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
        return cost.macs(lambda v, x: model.apply(v, x, train=False), variables, x)

    fused = 4 * 8 * 8 * 9 * 4 * 4  # by the 3x3 convolution, four channels a bin to four
    assert macs((1, 2, 3, 6)) - macs(()) == pixels * 32 * 4 + fused
