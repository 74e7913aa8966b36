"""What weights expect of an image, applied inside the encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import record
from jaxseg.encoders import Plain, ResNet, Standardize
from jaxseg.errors import UserError

CAFFE = Standardize(mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 2.0), scale=255.0, order="bgr")


def test_the_numbers_are_those_of_the_formula():
    image = jnp.asarray([[[[0.2, 0.4, 1.0]]]])
    found = CAFFE(image)
    np.testing.assert_allclose(found.ravel(), [255 - 104, 102 - 117, (51 - 123) / 2], rtol=1e-5)
    half = CAFFE(image.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype("f4").ravel(), found.ravel(), rtol=0.01, atol=0.6)


@pytest.mark.parametrize("encoder", [Plain((4, 6)), ResNet(18, width=4)])
def test_an_encoder_sees_what_its_weights_expect(encoder):
    image = jax.random.uniform(jax.random.key(0), (1, 32, 32, 3))
    inside = encoder.clone(standardize=CAFFE)
    variables = encoder.init(jax.random.key(1), image, train=False)
    assert jax.tree.structure(variables) == jax.tree.structure(
        jax.eval_shape(lambda: inside.init(jax.random.key(1), image, train=False))
    )
    wanted = encoder.apply(variables, CAFFE(image), train=False)
    found = inside.apply(variables, image, train=False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, wanted)
    assert record.from_json(record.to_json(inside)) == inside


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="must have 1 numbers, one a channel"):
        CAFFE(jnp.zeros((1, 2, 2, 1)))
    with pytest.raises(UserError, match="standardize.std"):
        Standardize(mean=(0.5,), std=(0.0,))
    with pytest.raises(UserError, match="standardize.std"):
        Standardize(mean=(0.5, 0.5), std=(1.0,))
