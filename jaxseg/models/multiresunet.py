"""MultiResUNet: Rethinking the U-Net Architecture for Multimodal Biomedical Image Segmentation.

Ibtehaz & Rahman 2020, https://arxiv.org/abs/1902.04049, figures 3 to 5

Differs from the paper: logits, where it ends in a sigmoid of one class. As in the authors' Keras
code, norms after convolutions have a bias and no scale, epsilon 1e-3, momentum 0.99; sums go
through ReLU, then norm; a batch norm stands before the sigmoid, here before the logits leave.
Their PyTorch port is another network.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers import Activation, Conv, Head, Norm, Size, TransposedConv
from jaxseg.layers.activation import activated
from jaxseg.layers.conv import add_bias
from jaxseg.ops import crop, max_pool, pad_to_multiple
from jaxseg.types import Paper, Prediction

EPSILON, MOMENTUM = 1e-3, 0.99


class MultiResUNet(nn.Module):
    """A MultiRes block a level, a Res path in the place of each skip connection (figure 5).

    ``widths`` are the U-Net's that the levels stand for, finest first; a block puts out
    ``block_width`` of it, times ``alpha``. The path of the finest level has as many steps as there
    are levels below it, the next one fewer. 2-D and 3-D by the rank of the image, of any size:
    padded with zeros at the end of each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "MultiResUNet: Rethinking the U-Net Architecture for Multimodal Biomedical Image "
        "Segmentation",
        "Ibtehaz",
        2020,
        "https://arxiv.org/abs/1902.04049",
    )

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    alpha: float = 1.67
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, skips, last = image.shape[1:-1], [], len(self.widths) - 1
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        for level, width in enumerate(self.widths):
            x = max_pool(x) if level else x
            x = MultiResBlock(width, self.alpha, name=f"level{level}_block")(x, train=train)
            if level < last:
                path = ResPath(width, last - level, name=f"level{level}_path")
                skips.append(path(x, train=train))
        for level in reversed(range(last)):
            width = self.widths[level]
            x = TransposedConv(width, name=f"level{level}_up")(x)
            x = jnp.concatenate([x, skips[level]], axis=-1)
            x = MultiResBlock(width, self.alpha, name=f"level{level}_up_block")(x, train=train)
        return Prediction(crop(_NormHead(self.num_classes, name="head")(x, train=train), size))


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


class _NormHead(nn.Module):
    """A 1x1 convolution, a batch norm without scale and a bias: float32."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        x = Head(self.features, use_bias=False, name="conv")(x)
        x = Norm(affine=False, epsilon=EPSILON, momentum=MOMENTUM, name="norm")(x, train=train)
        return add_bias(self, x)
