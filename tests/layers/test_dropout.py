"""Stochastic depth and channel dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.dropout import ChannelDropout, StochasticDepth

LAYERS = [StochasticDepth, ChannelDropout]


def dropped(layer, x, seed: int = 0):
    return layer.apply({}, x, train=True, rngs={"dropout": jax.random.key(seed)})


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_stochastic_depth_drops_or_keeps_an_example_as_a_whole(rank: int):
    y = dropped(StochasticDepth(0.25), jnp.ones((400, *(2,) * rank, 3))).reshape(400, -1)
    assert (y == y[:, :1]).all()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    # 400 draws of 3/4: five standard deviations are 43
    assert abs(int((y[:, 0] > 0).sum()) - 300) < 44


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_channel_dropout_drops_or_keeps_a_channel_as_a_whole(rank: int):
    y = dropped(ChannelDropout(0.25), jnp.ones((20, *(2,) * rank, 20))).reshape(20, -1, 20)
    assert (y == y[:, :1]).all()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(int((y[:, 0] > 0).sum()) - 300) < 44


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_is_dropped_and_no_generator_needed_without_training_or_rate(layer):
    x = jnp.ones((2, 3, 3, 4))
    assert (layer(0.5).apply({}, x, train=False) == x).all()
    assert (layer(0.0).apply({}, x, train=True) == x).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_at_rate_one_everything_is_dropped_and_the_gradient_is_zero(layer):
    x = jnp.ones((2, 3, 3, 4))
    y, gradient = jax.value_and_grad(lambda x: dropped(layer(1.0), x).sum())(x)
    assert y == 0 and not gradient.any()


@pytest.mark.parametrize("layer", LAYERS)
def test_the_seed_fixes_what_is_dropped_and_the_gradient_passes_where_the_value_did(layer):
    x = jax.random.normal(jax.random.key(0), (16, 3, 3, 4))
    y, gradient = dropped(layer(0.5), x), jax.grad(lambda x: dropped(layer(0.5), x).sum())(x)
    assert (y == dropped(layer(0.5), x)).all() and (y != dropped(layer(0.5), x, seed=1)).any()
    np.testing.assert_allclose(y, gradient * x, rtol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_dtype_stays(layer):
    assert dropped(layer(0.5), jnp.ones((2, 3, 3, 4), jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_rate_that_is_no_probability_is_refused(layer, rate: float):
    with pytest.raises(UserError, match=rf"{layer.__name__} None: rate={rate} is no probability"):
        dropped(layer(rate), jnp.ones((2, 3, 3, 4)))
