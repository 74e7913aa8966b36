"""MultiResUNet's parts; their numbers stand in test_blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.layers import ConvNorm, TransposedConv
from jaxseg.layers.multires import MultiResBlock, ResPath, block_width
from jaxseg.ops import max_pool


class Network(nn.Module):
    """MultiResUNet of these parts, to count them."""

    @nn.compact
    def __call__(self, x, *, train: bool):
        skips = []
        for level in range(4):
            x = MultiResBlock(32 * 2**level, name=f"down{level}")(x, train=train)
            path = ResPath(32 * 2**level, 4 - level, name=f"path{level}")
            skips.append(path(x, train=train))
            x = max_pool(x)
        x = MultiResBlock(512, name="bottom")(x, train=train)
        for level in reversed(range(4)):
            x = TransposedConv(32 * 2**level, name=f"up{level}")(x)
            x = jnp.concatenate([x, skips[level]], axis=-1)
            x = MultiResBlock(32 * 2**level, name=f"decoder{level}")(x, train=train)
        return ConvNorm(1, 1, activation="sigmoid", name="head")(x, train=train)


@pytest.mark.parametrize(
    ("size", "channels", "trainable"), [((16, 16), 3, 7_238_228), ((16, 16, 16), 4, 18_633_167)]
)
def test_the_parts_make_the_network_of_the_papers_parameter_count(size, channels: int, trainable):
    x = jnp.zeros((1, *size, channels))
    made = jax.eval_shape(lambda: Network().init(jax.random.key(0), x, train=False))
    # The head's norm has a scale here, one number that Keras's has not.
    assert cost.parameters(made) - 1 == trainable


def test_the_block_has_the_width_that_block_width_says():
    x = jnp.zeros((1, 4, 5, 3))
    block = MultiResBlock(32)
    y = jax.eval_shape(lambda: block.init_with_output(jax.random.key(0), x, train=False))[0]
    assert y.shape == (1, 4, 5, block_width(32)) and block_width(32) == 8 + 17 + 26


def test_a_width_that_leaves_a_convolution_without_channels_is_refused():
    with pytest.raises(UserError, match="width=3 and alpha=1.67 .* width must be 4 or more"):
        MultiResBlock(3).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
    MultiResBlock(4).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
