"""Squeeze and excitation; numbers of PyTorch: test_attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.squeeze_excitation import (
    ConcurrentExcitation,
    SpatialExcitation,
    SqueezeExcitation,
)

X = jax.random.normal(jax.random.key(0), (2, 5, 4, 16))


def test_weights_are_one_a_channel_or_one_a_pixel():
    y, _ = SqueezeExcitation(4).init_with_output(jax.random.key(0), X)
    np.testing.assert_allclose((y / X).std((1, 2)), 0, atol=1e-5)
    y, _ = SpatialExcitation().init_with_output(jax.random.key(0), X)
    np.testing.assert_allclose((y / X).std(-1), 0, atol=1e-5)


def test_gates_of_zero_parameters_halve_and_both_together_add_to_one_or_halve():
    zeros = jax.tree.map(jnp.zeros_like, ConcurrentExcitation().init(jax.random.key(0), X))
    np.testing.assert_allclose(ConcurrentExcitation("add").apply(zeros, X), X, rtol=1e-6)
    np.testing.assert_allclose(ConcurrentExcitation("max").apply(zeros, X), X / 2, rtol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
def test_counts_are_those_of_the_released_code(rank: int):
    x = jnp.zeros((1, *(2,) * rank, 64))

    def count(layer):
        shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
        return sum(a.size for a in jax.tree.leaves(shapes))

    assert count(SqueezeExcitation(2)) == 4192
    assert count(SpatialExcitation()) == 65
    assert count(ConcurrentExcitation()) == 4257


def test_the_mean_of_many_bfloat16_pixels_is_taken_in_float32():
    layer = SqueezeExcitation(width=1, gate="none")
    ones = {"kernel": jnp.ones((1, 1, 1, 1)), "bias": jnp.zeros(1)}
    x = jnp.ones((1, 64, 64, 1), jnp.bfloat16)
    y = layer.apply({"params": {"reduce": ones, "expand": ones}}, x)
    np.testing.assert_array_equal(y.astype(jnp.float32), 1)


def test_a_reduction_that_leaves_no_channel_is_refused_in_one_line():
    with pytest.raises(UserError, match="reduction=16 leaves none of 8 channels; 8 would do"):
        SqueezeExcitation().init(jax.random.key(0), jnp.zeros((1, 2, 2, 8)))
    with pytest.raises(UserError, match="width=0 must be at least 1"):
        SqueezeExcitation(width=0).init(jax.random.key(0), X)
