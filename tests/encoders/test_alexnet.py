"""AlexNet: the papers' maps, Caffe's groups and responses; numbers stand in test_classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders import AlexNet
from jaxseg.errors import UserError


def traced(encoder, size):
    x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x)


@pytest.mark.parametrize(("form", "size"), [("torchvision", 224), ("caffenet", 227)])
def test_the_papers_padding_has_the_papers_maps_and_the_same_weights(form, size):
    features, known = traced(AlexNet(form, padding="paper"), (size, size))
    assert [f.shape[1] for f in features] == [55, 27, 13, 6]
    same, variables = traced(AlexNet(form), (size, size))
    assert [f.shape[1] for f in same] == [-(-size // stride) for stride in (4, 8, 16, 32)]
    assert variables == known


def test_caffes_form_has_two_groups_where_two_devices_had_one_each():
    params = traced(AlexNet("caffenet"), (64, 64))[1]["params"]
    kernels = [params[f"conv{i}"]["conv"]["kernel"].shape[-2:] for i in (1, 2, 3, 4, 5)]
    assert kernels == [(3, 96), (48, 256), (256, 384), (192, 384), (192, 256)]


@pytest.mark.parametrize(("form", "scales"), [("torchvision", True), ("caffenet", False)])
def test_local_responses_are_of_caffes_form_alone(form, scales):
    # without biases and responses, twice the image gives twice the features
    encoder = AlexNet(form, widths=(4, 6, 6, 6, 4))
    x = 100 * jax.random.normal(jax.random.key(0), (1, 64, 64, 3))

    @jax.jit
    def run(x):
        variables = encoder.init(jax.random.key(1), x, train=False)
        return [encoder.apply(variables, factor * x, train=False)[-1] for factor in (1, 2)]

    once, twice = run(x)
    assert np.allclose(2 * once, twice, rtol=1e-4) == scales


def test_an_image_too_small_to_pool_is_refused_where_nothing_is_padded():
    assert traced(AlexNet(), (1, 1))[0][-1].shape == (1, 1, 1, 256)
    with pytest.raises(UserError, match="max_pool"):
        traced(AlexNet(padding="paper"), (20, 20))
