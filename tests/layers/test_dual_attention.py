"""Position and channel attention; numbers of PyTorch: test_attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.dual_attention import ChannelAttention, PositionAttention

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (2, 5, 4, 16))


@pytest.mark.parametrize("layer", [PositionAttention(), ChannelAttention()])
def test_training_begins_at_the_identity(layer):
    y, _ = layer.init_with_output(KEY, X)
    np.testing.assert_array_equal(y, X)


def test_position_attention_does_not_know_where_pixels_are():
    variables = PositionAttention().init(KEY, X)
    variables["params"]["gamma"] = jnp.ones(1)
    order = np.random.RandomState(0).permutation(20)

    def shuffle(a):
        return a.reshape(2, 20, 16)[:, order].reshape(a.shape)

    ours = PositionAttention().apply(variables, shuffle(X))
    np.testing.assert_allclose(ours, shuffle(PositionAttention().apply(variables, X)), atol=1e-5)


def test_equal_pixels_attend_to_their_value():
    x = jnp.broadcast_to(X[:, :1, :1], X.shape)
    variables = PositionAttention().init(KEY, X)
    value = variables["params"]["value"]
    variables["params"]["gamma"] = jnp.full(1, 0.5)
    expected = x + 0.5 * (x @ value["kernel"][0, 0] + value["bias"][None, None, None])
    np.testing.assert_allclose(PositionAttention().apply(variables, x), expected, atol=1e-5)


def test_the_released_channel_attention_prefers_the_least_alike_and_the_papers_the_most():
    a = jnp.array([3.0, 0.0, 0.0, 0.0])
    x = jnp.stack([a, a, -a], -1)[None]  # energies of channel 0: 9, 9, -9
    variables = {"params": {"gamma": jnp.ones(1)}}
    paper = ChannelAttention("paper").apply(variables, x)
    released = ChannelAttention("released").apply(variables, x)
    np.testing.assert_allclose(paper[0, :, 0], a + a, atol=1e-4)
    np.testing.assert_allclose(released[0, :, 0], a - a, atol=1e-4)


def test_a_reduction_that_leaves_no_channel_is_refused():
    with pytest.raises(UserError, match="reduction=8 leaves none of 4 channels; 4 would do"):
        PositionAttention().init(KEY, jnp.zeros((1, 4, 4, 4)))
