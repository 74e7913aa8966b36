"""The dense block; its numbers stand in test_blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.layers.dense import DenseBlock


def parameters(block: DenseBlock, channels: int) -> int:
    x = jnp.zeros((1, 4, 4, channels))
    return cost.parameters(jax.eval_shape(lambda: block.init(jax.random.key(0), x, train=False)))


def test_the_parameters_of_a_tiramisu_block_are_those_of_its_table():
    # FC-DenseNet56: 4 layers, growth 12, after a first convolution of 48
    by_hand = sum(2 * c + 9 * c * 12 + 12 for c in (48, 60, 72, 84))
    assert parameters(DenseBlock(4, 12, use_bias=True), 48) == by_hand


def test_the_parameters_of_densenet121s_first_block_are_those_of_its_table():
    by_hand = sum(2 * c + c * 128 + 2 * 128 + 9 * 128 * 32 for c in range(64, 64 + 6 * 32, 32))
    assert parameters(DenseBlock(6, 32, bottleneck=4), 64) == by_hand


def test_the_input_comes_first_and_the_new_maps_follow():
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    block = DenseBlock(2, 4)
    y, _ = block.init_with_output(jax.random.key(1), x, train=False)
    assert y.shape == (2, 4, 5, 3 + 2 * 4)
    np.testing.assert_array_equal(y[..., :3], x)


@pytest.mark.parametrize("train", [True, False])
def test_dropout_zeroes_single_numbers_of_new_maps_while_training(train: bool):
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    block = DenseBlock(1, 4, norm="none", dropout=0.5)
    variables = block.init(jax.random.key(1), x, train=False)
    y = block.apply(variables, x, train=train, rngs={"dropout": jax.random.key(2)})
    zero = np.asarray(y[..., 3:] == 0)
    assert zero.any() == train and not zero.all()
    assert not zero.all((1, 2)).any()  # no channel as a whole
