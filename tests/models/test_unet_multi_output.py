"""Multi-output U-Net: a prediction at each up step, fused, and one of the whole image."""

import jax
import numpy as np
import pytest

from jaxseg.encoders import Plain
from jaxseg.models.unet_multi_output import UNetMultiOutput

MODEL = UNetMultiOutput(3, encoder=Plain((4, 6, 8, 8)))
X = np.random.RandomState(0).standard_normal((2, 21, 32, 1)).astype("f4")


@pytest.fixture(scope="module")
def drawn():
    """A prediction, the variables that were drawn for it."""
    return jax.jit(lambda: MODEL.init_with_output(jax.random.key(0), X, train=False))()


def test_each_up_step_predicts_at_the_size_of_the_image(drawn):
    assert [a.shape for a in drawn[0].auxiliary] == 3 * [(2, 21, 32, 3)]


def test_the_fused_logits_are_the_sum_of_the_single_ones(drawn):
    prediction, _ = drawn
    np.testing.assert_allclose(prediction.logits, sum(prediction.auxiliary), atol=1e-5)


def test_the_image_head_stands_at_the_bottleneck(drawn):
    prediction, variables = drawn
    assert prediction.image_logits is not None
    assert prediction.image_logits.shape == (2, 3)
    assert variables["params"]["image_head"]["kernel"].shape == (8, 3)

    @jax.jit
    def gradient(params):
        given = variables | {"params": params}
        return jax.grad(lambda p: MODEL.apply(p, X, train=False).image_logits.sum())(given)

    params = jax.device_get(gradient(variables["params"]))["params"]
    assert not any(a.any() for a in jax.tree.leaves(params["decoder"]))
    assert all(abs(a).max() > 0 for a in jax.tree.leaves(params["encoder"]["level3_conv2"]))


def test_the_image_may_have_classes_of_its_own(drawn):
    model = MODEL.clone(image_classes=7)
    shape = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False)[0].image_logits, X
    ).shape
    assert shape == (2, 7)
    assert np.isfinite(drawn[0].logits).all()
