"""SegFormer: segmentation_models_pytorch's numbers, the size at which features are fused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg.encoders import MiT, ResNet
from jaxseg.models.segformer import SegFormer


@pytest.mark.parametrize(
    ("encoder", "projected"),
    [(MiT((4, 8, 8, 8), blocks=(1,) * 4, heads=(1,) * 4), 4), (ResNet(10, width=4), 5)],
)
def test_features_are_fused_at_a_quarter_of_the_size(encoder, projected):
    model, sizes = SegFormer(2, encoder=encoder, width=6), {}

    def seen(call, args, kwargs, context):
        if context.method_name == "__call__":
            sizes[context.module.name] = args[0].shape
        return call(*args, **kwargs)

    with nn.intercept_methods(seen):
        x = jnp.zeros((1, 64, 96, 3))
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    assert sizes["fusion"] == (1, 16, 24, 6 * projected)
    assert sizes["head"] == (1, 16, 24, 6)
    assert sum(str(name).endswith("_project") for name in sizes) == projected
