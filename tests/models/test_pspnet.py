"""PSPNet: segmentation_models_pytorch's numbers, the feature that is pooled, no padding."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.models.pspnet import PSPNet

ENCODER = ResNet(10, width=4, output_stride=8)


def test_a_feature_that_is_not_there_is_refused():
    model = PSPNet(2, encoder=ENCODER, feature=-5)
    with pytest.raises(UserError, match="PSPNet.feature=-5: must be from -4 to -1"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False))


def test_auxiliary_logits_have_the_images_size_and_a_head_of_their_own():
    model = PSPNet(2, encoder=ENCODER, width=4, auxiliary_width=6)
    run = lambda: model.init_with_output(jax.random.key(0), jnp.zeros((1, 41, 33, 3)), train=False)  # noqa: E731
    prediction, variables = jax.eval_shape(run)
    assert [a.shape for a in prediction.auxiliary] == [(1, 41, 33, 2)]
    assert variables["params"]["auxiliary_conv"]["conv"]["kernel"].shape == (3, 3, 16, 6)


def test_what_lies_behind_the_pooled_feature_is_kept_and_not_computed():
    model = PSPNet(2, encoder=ENCODER, feature=-3, auxiliary="none", width=4)
    image = jnp.ones((1, 16, 16, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    full = jax.eval_shape(lambda: ENCODER.init(jax.random.key(0), image, train=False))
    assert jax.tree.structure(variables["params"]["encoder"]) == jax.tree.structure(full["params"])

    def trained(variables):  # statistics are an output, so their features would be computed
        rngs = {"dropout": jax.random.key(0)}
        return model.apply(variables, image, train=True, mutable=["batch_stats"], rngs=rngs)

    kept = jax.eval_shape(trained, variables)[1]["batch_stats"]
    assert jax.tree.structure(kept) == jax.tree.structure(variables["batch_stats"])
    needed = cost.macs(lambda v: model.apply(v, image, train=False), variables)
    assert cost.macs(trained, variables) == needed
