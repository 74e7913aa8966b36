"""ASPP: counts of the papers' heads, order of the branches, dropout, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.aspp import ASPP, SummedASPP


def shapes(layer, channels: int, train: bool = False) -> dict:
    x = jax.ShapeDtypeStruct((1, 8, 8, channels), jnp.float32)
    init = jax.eval_shape(lambda x: layer.init(jax.random.key(0), x, train=train), x)
    return jax.tree.map(lambda a: a.shape, init["params"])


def count(layer, channels: int) -> int:
    leaves = jax.tree.leaves(shapes(layer, channels), is_leaf=lambda a: isinstance(a, tuple))
    return sum(int(np.prod(shape)) for shape in leaves)


def test_the_head_of_deeplab_v3_has_its_parameters():
    # 2048 -> 256: 1x1, three 3x3, image pooling, projection of 1280; two numbers of norm for each
    kernels = 2048 * 256 + 3 * 9 * 2048 * 256 + 2048 * 256 + 1280 * 256
    assert count(ASPP(), 2048) == kernels + 6 * 2 * 256


def test_the_separable_forms_have_their_parameters():
    depthwise, kernels = 3 * 9 * 2048, 5 * 2048 * 256 + 1280 * 256
    community = depthwise + kernels + 6 * 2 * 256
    assert count(ASPP(form="community"), 2048) == community
    assert count(ASPP(form="deeplab"), 2048) == community + 3 * 2 * 2048  # a norm in between


def test_the_summed_heads_of_deeplab_v2_have_their_parameters():
    # ResNet: four 3x3 2048 -> 21. VGG, ASPP-L: 3x3 512 -> 1024, 1x1 1024, 1x1 -> 21, each with bias
    assert count(SummedASPP(21), 2048) == 4 * (9 * 2048 * 21 + 21)
    branch = (9 * 512 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 21 + 21)
    assert count(SummedASPP(21, hidden=1024), 512) == 4 * branch


def test_the_head_of_parsing_rcnn_has_its_parameters():
    # the released network: all convolutions with bias, a projection to 512
    head = ASPP(norm="none", projection=512)
    assert count(head, 256) == 2_557_696


@pytest.mark.parametrize("rates", [(6, 12, 18), (1, 40)])
def test_a_rate_may_exceed_the_map(rates):
    layer, x = ASPP(2, rates=rates, dropout=0.0), jax.random.normal(jax.random.key(0), (2, 5, 3, 4))
    run = jax.jit(lambda x: layer.init_with_output(jax.random.key(1), x, train=False)[0])
    assert run(x).shape == (2, 5, 3, 2)


def test_the_mean_of_the_image_reaches_every_pixel():
    x = jax.random.normal(jax.random.key(0), (1, 9, 9, 3))
    for pooling in (True, False):
        layer = ASPP(2, rates=(1,), image_pooling=pooling, norm="none", dropout=0.0)

        @jax.jit
        def run(x, layer=layer):
            return layer.init_with_output(jax.random.key(1), x, train=False)[0]

        moved = np.asarray(run(x.at[0, 0, 0].add(9.0)) - run(x))[0, -1, -1]
        assert abs(moved).any() == pooling


@pytest.mark.parametrize("layer", [ASPP(4, rates=(1,)), SummedASPP(4, rates=(1,), hidden=8)])
def test_dropout_acts_in_training_only(layer):
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))

    @functools.partial(jax.jit, static_argnums=1)
    def run(seed: int, train: bool):
        rngs = {"params": jax.random.key(1), "dropout": jax.random.key(seed)}
        return layer.init_with_output(rngs, x, train=train)[0]

    assert (run(0, False) == run(1, False)).all()
    assert (run(0, True) != run(1, True)).any()


@pytest.mark.parametrize("layer", [ASPP, SummedASPP])
@pytest.mark.parametrize("rates", [(), (0, 6), (6, 6)])
def test_bad_rates_are_refused(layer, rates):
    with pytest.raises(UserError, match="rates=.* it takes one or more, each at least 1"):
        shapes(layer(4, rates=rates, name="aspp"), 3)
