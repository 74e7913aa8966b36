"""The plain encoder: widths, strides, convolutions a level."""

import jax
import jax.numpy as jnp

from jaxseg.encoders import Plain


def test_features_have_the_widths_and_strides_it_names():
    encoder = Plain((4, 6, 8))
    x = jnp.zeros((1, 16, 24, 2))
    features = jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False)[0], x
    )
    assert encoder.strides == (1, 2, 4)
    assert [f.shape for f in features] == [(1, 16, 24, 4), (1, 8, 12, 6), (1, 4, 6, 8)]


def test_convolutions_are_named_by_place_then_role():
    x = jnp.zeros((1, 8, 8, 2))
    params = Plain((4, 6), convs=3, norm="none").init(jax.random.key(0), x, train=False)["params"]
    names = {f"level{level}_conv{i}" for level in (0, 1) for i in (1, 2, 3)}
    assert set(params) == names
    assert set(params["level0_conv1"]["conv"]) == {"kernel", "bias"}
