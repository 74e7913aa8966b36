"""The residual block; its numbers stand in test_blocks."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.layers.residual import PreactivatedBlock, ResidualBlock


def test_resnext101_32x8ds_first_block_has_its_parameters():
    block = ResidualBlock(256, kind="bottleneck", width=256, groups=32)
    made = jax.eval_shape(
        lambda: block.init(jax.random.key(0), jnp.zeros((1, 4, 4, 64)), train=False)
    )
    convs = 64 * 256 + 9 * 256 * 256 // 32 + 256 * 256 + 64 * 256
    assert cost.parameters(made) == convs + 4 * 2 * 256


@pytest.mark.parametrize("block", [ResidualBlock(8), PreactivatedBlock(8)])
def test_without_a_change_of_shape_there_is_no_shortcut_convolution(block: nn.Module):
    x = jnp.zeros((1, 4, 4, 8))
    made = jax.eval_shape(lambda: block.init(jax.random.key(0), x, train=False))
    assert not [name for name in made["params"] if "shortcut" in name]


def test_a_pre_activated_block_whose_last_kernel_is_zero_is_the_identity():
    x = jax.random.normal(jax.random.key(0), (1, 4, 5, 6))
    block = PreactivatedBlock(6)
    variables = block.init(jax.random.key(1), x, train=False)
    variables["params"]["conv2"]["kernel"] *= 0
    np.testing.assert_array_equal(block.apply(variables, x, train=False), x)


def test_a_whole_branch_is_dropped_or_kept_for_each_example():
    x = jnp.ones((64, 2, 2, 4))
    block = PreactivatedBlock(4, norm="none", drop_path=0.5)
    variables = block.init(jax.random.key(0), x, train=False)
    branch = block.apply(variables, x, train=False) - x
    y = block.apply(variables, x, train=True, rngs={"dropout": jax.random.key(1)}) - x
    kept = np.asarray(jnp.abs(y).max((1, 2, 3)) > 0)
    assert 0 < kept.sum() < 64
    np.testing.assert_allclose(y[kept], 2 * branch[kept], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "shortcut"),
    [
        *((ResidualBlock, shortcut) for shortcut in ("conv", "average", "pad")),
        *((PreactivatedBlock, shortcut) for shortcut in ("conv", "preactivated", "average", "pad")),
    ],
)
def test_every_shortcut_follows_an_odd_size(kind: type[nn.Module], shortcut: str):
    block = kind(6, stride=2, shortcut=shortcut)
    x = jnp.zeros((1, 5, 7, 4))
    y = jax.eval_shape(lambda: block.init_with_output(jax.random.key(0), x, train=False))[0]
    assert y.shape == (1, 3, 4, 6)


def test_each_axis_can_have_its_own_stride():
    x = jnp.zeros((1, 4, 6, 8, 3))
    block = ResidualBlock(5, stride=(1, 2, 2))
    assert jax.eval_shape(lambda: block.init_with_output(jax.random.key(0), x, train=False))[
        0
    ].shape == (1, 4, 3, 4, 5)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (
            {"shortcut": "pad", "features": 2},
            "4 channels to 2 features; use 'conv', or 4 features or more",
        ),
        ({"groups": 3}, "groups=3 does not divide"),
        ({"stride": (2, 2, 2)}, "has 3 numbers"),
    ],
)
def test_what_cannot_be_added_is_refused_in_one_line(fields: dict, complaint: str):
    block = dataclasses.replace(ResidualBlock(4), **fields)
    with pytest.raises(UserError, match=complaint) as caught:
        jax.eval_shape(lambda: block.init(jax.random.key(0), jnp.zeros((1, 5, 7, 4)), train=False))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [ResidualBlock, PreactivatedBlock])
def test_a_basic_block_has_no_1x1_that_could_stride(kind: type[nn.Module]):
    block = kind(6, stride=2, strided="1x1", name="b")
    with pytest.raises(UserError, match="strided='1x1' is of bottlenecks alone"):
        jax.eval_shape(
            lambda x: block.init(jax.random.key(0), x, train=False), jnp.zeros((1, 4, 4, 6))
        )
