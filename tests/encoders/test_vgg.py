"""VGG: its levels, and DeepLab's form with dilation; its numbers stand in tests/models."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.encoders import VGG
from jaxseg.errors import UserError


def traced(encoder, size):
    x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    return x, *jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x
    )


def sizes(encoder, size):
    return [f.shape[1:] for f in traced(encoder, size)[1]]


def test_features_are_the_end_of_each_level_and_the_last_pooling():
    found = sizes(VGG(16), (64, 96))
    assert [c for *_, c in found] == [64, 128, 256, 512, 512, 512]
    assert found[0][:2] == (64, 96) and found[-1][:2] == (2, 3)
    assert sizes(VGG(16, finest=2), (64, 96)) == found[1:]


def test_deeplabs_form_has_the_sizes_of_its_paper():
    encoder = VGG(16, width=2, output_stride=8, pool_size=3, pool="ceil")
    assert [h for h, *_ in sizes(encoder, (321, 321))] == [321, 161, 81, 41, 41, 41]
    assert encoder.strides == (1, 2, 4, 8, 8, 8)


def test_dilation_replaces_the_strides_of_the_last_poolings():
    encoder = VGG(16, width=2, output_stride=8)
    x, _, variables = traced(encoder, (32, 32))
    program = jax.jit(lambda v, x: encoder.apply(v, x, train=False)[-1]).lower(variables, x)
    assert program.as_text().count("rhs_dilate = [2, 2]") == 3  # level 4, after the fourth pooling


def test_caffes_pooling_rounds_up():
    assert [h for h, *_ in sizes(VGG(11, width=2), (75, 75))] == [75, 37, 18, 9, 4, 2]
    assert [h for h, *_ in sizes(VGG(11, width=2, pool="ceil"), (75, 75))] == [75, 38, 19, 10, 5, 3]


def test_an_image_too_small_to_pool_is_refused():
    with pytest.raises(UserError, match="max_pool"):
        sizes(VGG(11, width=2), (16, 31))


@pytest.mark.parametrize("encoder", [VGG(11, width=2), VGG(11, width=2, finest=2)])
def test_the_finest_features_need_no_parameters_of_the_others(encoder):
    x, whole, _ = traced(encoder, (64, 64))
    features, variables = jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False, count=2), x
    )
    assert features == whole[:2]
    last = encoder.finest  # 2 levels of 5, one more where the finest is left out
    assert {name[:6] for name in variables["params"]} == {f"level{i}" for i in range(last + 1)}
