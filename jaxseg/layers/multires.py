"""The two parts of MultiResUNet: the MultiRes block and the Res path.

Ibtehaz & Rahman 2020, https://arxiv.org/abs/1902.04049. As in the authors' Keras code: norms after
convolutions have a bias and no scale, epsilon 1e-3, momentum 0.99; sums go through ReLU, then norm.
Their PyTorch port is another network.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation, activated
from jaxseg.layers.conv import Conv, add_bias
from jaxseg.layers.norm import Norm
from jaxseg.ops import Size

EPSILON, MOMENTUM = 1e-3, 0.99


class MultiResBlock(nn.Module):
    """Three 3x3 convolutions in a chain, all three kept, beside a 1x1 shortcut (figure 3c).

    Their widths are a sixth, a third and a half of ``alpha * width``, each rounded down (section
    3.2 and its equation 2); so the output has ``block_width(width, alpha)`` channels, not
    ``width``.
    """

    width: int
    alpha: float = 1.67

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays. Raises UserError where ``width`` is too small to be divided."""
        widths = _widths(self.width, self.alpha)
        if min(widths) < 1:
            raise UserError(
                f"MultiResBlock {self.name}: width={self.width} and alpha={self.alpha} leave a "
                f"convolution without channels {widths}; width must be {6 / self.alpha:.0f} or more"
            )
        shortcut = _ConvBias(sum(widths), 1, "none", name="shortcut")
        shortcut, maps, y = shortcut(x, train=train), [], x
        for i, width in enumerate(widths, start=1):
            y = _ConvBias(width, 3, "relu", name=f"conv{i}")(y, train=train)
            maps.append(y)
        y = self._norm("norm")(jnp.concatenate(maps, axis=-1), train=train)
        return self._norm("out_norm")(nn.relu(shortcut + y), train=train)

    def _norm(self, name: str) -> Norm:
        return Norm(epsilon=EPSILON, momentum=MOMENTUM, name=name)


class ResPath(nn.Module):
    """``length`` residual 3x3 convolutions in the place of a skip connection (figure 4).

    The paper's lengths are 4, 3, 2, 1, finest first.
    """

    features: int
    length: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """The size stays."""
        for i in range(self.length):
            shortcut = self._conv(1, "none", f"shortcut{i}")
            conv = self._conv(3, "relu", f"conv{i}")
            x = nn.relu(shortcut(x, train=train) + conv(x, train=train))
            norm = Norm(epsilon=EPSILON, momentum=MOMENTUM, name=f"norm{i}")
            x = norm(x, train=train)
        return x

    def _conv(self, kernel_size: int, activation: Activation, name: str) -> "_ConvBias":
        return _ConvBias(self.features, kernel_size, activation, name=name)


class _ConvBias(nn.Module):
    """A convolution, a batch norm without scale, a bias and an activation."""

    features: int
    kernel_size: Size
    activation: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        x = Conv(self.features, self.kernel_size, use_bias=False, name="conv")(x)
        x = Norm(affine=False, epsilon=EPSILON, momentum=MOMENTUM, name="norm")(x, train=train)
        return activated(self, add_bias(self, x), self.activation)


def block_width(width: int, alpha: float = 1.67) -> int:
    """Channels that a MultiResBlock puts out."""
    return sum(_widths(width, alpha))


def _widths(width: int, alpha: float) -> tuple[int, int, int]:
    # The code's constants, not sixths: with those 32 * 1.67 / 3 would round to another width.
    first, second, third = (int(alpha * width * part) for part in (0.167, 0.333, 0.5))
    return first, second, third
