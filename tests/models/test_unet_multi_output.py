"""Multi-output U-Net: a prediction at each up step, fused, and one of the whole image."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.encoders import Plain
from jaxseg.models.unet_multi_output import UNetMultiOutput

MODEL = UNetMultiOutput(3, encoder=Plain((4, 6, 8, 8)))
X = jax.random.normal(jax.random.key(0), (2, 21, 32, 1))
PREDICTION, VARIABLES = MODEL.init_with_output(jax.random.key(0), X, train=False)


def test_each_up_step_predicts_at_the_size_of_the_image():
    assert [a.shape for a in PREDICTION.auxiliary] == 3 * [(2, 21, 32, 3)]


def test_the_fused_logits_are_the_sum_of_the_single_ones():
    np.testing.assert_allclose(PREDICTION.logits, sum(PREDICTION.auxiliary), atol=1e-5)


def test_the_image_head_stands_at_the_bottleneck():
    assert PREDICTION.image_logits is not None
    assert PREDICTION.image_logits.shape == (2, 3)
    assert VARIABLES["params"]["image_head"]["kernel"].shape == (8, 3)
    params = jax.grad(
        lambda p: MODEL.apply(VARIABLES | {"params": p}, X, train=False).image_logits.sum()
    )(VARIABLES["params"])
    assert not any(a.any() for a in jax.tree.leaves(params["decoder"]))
    assert all(abs(a).max() > 0 for a in jax.tree.leaves(params["encoder"]["level3_conv2"]))


def test_the_image_may_have_classes_of_its_own():
    model = MODEL.clone(image_classes=7)
    shape = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False)[0].image_logits, X
    ).shape
    assert shape == (2, 7)
    assert jnp.isfinite(PREDICTION.logits).all()
