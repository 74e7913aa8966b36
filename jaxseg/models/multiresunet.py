"""MultiResUNet: Rethinking the U-Net Architecture for Multimodal Biomedical Image Segmentation.

Ibtehaz & Rahman 2020, https://arxiv.org/abs/1902.04049, figures 3 to 5

Differs from the paper: logits, where it ends in a sigmoid of one class. As in the authors' Keras
code, norms after convolutions have a bias and no scale, epsilon 1e-3, momentum 0.99; sums go
through ReLU, then norm; a batch norm stands before the sigmoid, here before the logits leave.
Their PyTorch port is another network, ``form="torch"``: norms with a scale after convolutions with
a bias, sums go through the norm first, and a path's second norm is its first once more.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require
from jaxseg.layers import Activation, Conv, ConvNorm, Head, Norm, Size, TransposedConv
from jaxseg.layers.activation import activated
from jaxseg.layers.conv import add_bias
from jaxseg.ops import crop, max_pool, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

EPSILON, MOMENTUM = 1e-3, 0.99

Form = Literal["keras", "torch"]


def _of_torch() -> tuple[tuple[str, str], ...]:
    """Their blocks are numbered down, then up."""
    rows = [(r"conv_final\.conv1", "head.conv!"), (r"conv_final\.batchnorm", "head.norm!")]
    blocks = [(n, f"level{n - 1}_block") for n in range(1, 6)]
    blocks += [(n, f"level{9 - n}_up_block") for n in range(6, 10)]
    parts = {"shortcut": "shortcut", "conv_3x3": "conv1", "conv_5x5": "conv2", "conv_7x7": "conv3"}
    for n, place in blocks:
        for theirs, ours in parts.items():
            rows.append((rf"multiresblock{n}\.{theirs}\.conv1", f"{place}.{ours}.conv!"))
            rows.append((rf"multiresblock{n}\.{theirs}\.batchnorm", f"{place}.{ours}.norm!"))
        rows.append((rf"multiresblock{n}\.batch_norm1", f"{place}.norm!"))
        rows.append((rf"multiresblock{n}\.batch_norm2", f"{place}.out_norm!"))
        rows.append((rf"upsample{n}", f"level{9 - n}_up~"))
    for n in range(1, 5):
        path = rf"respath{n}\.(shortcut|conv)s\.(\d)"
        rows.append((rf"{path}\.conv1", rf"level{n - 1}_path.\1\2.conv!"))
        rows.append((rf"{path}\.batchnorm", rf"level{n - 1}_path.\1\2.norm!"))
        rows.append((rf"respath{n}\.bns\.(\d)", rf"level{n - 1}_path.norm\1!"))
    return tuple(rows)


class MultiResUNet(nn.Module):
    """A MultiRes block a level, a Res path in the place of each skip connection (figure 5).

    ``widths`` are the U-Net's that the levels stand for, finest first; a block puts out
    ``block_width`` of it, times ``alpha``. The path of the finest level has as many steps as there
    are levels below it, the next one fewer. ``form`` is that of the authors' code. 2-D
    and 3-D by the rank of the image, of any size: padded with zeros at the end of each axis to a
    multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "MultiResUNet: Rethinking the U-Net Architecture for Multimodal Biomedical Image "
        "Segmentation",
        "Ibtehaz",
        2020,
        "https://arxiv.org/abs/1902.04049",
    )

    names: ClassVar[Names] = {"nibtehaz/MultiResUNet": _of_torch()}

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    alpha: float = 1.67
    form: Form = "keras"
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
            x = self._block(width, f"level{level}_block")(x, train=train)
            if level < last:
                path = ResPath(width, last - level, self.form, name=f"level{level}_path")
                skips.append(path(x, train=train))
        for level in reversed(range(last)):
            width = self.widths[level]
            x = TransposedConv(width, name=f"level{level}_up")(x)
            x = jnp.concatenate([x, skips[level]], axis=-1)
            x = self._block(width, f"level{level}_up_block")(x, train=train)
        head = _NormHead(self.num_classes, self.form, name="head")
        return Prediction(crop(head(x, train=train), size))

    def _block(self, width: int, name: str) -> "MultiResBlock":
        return MultiResBlock(width, self.alpha, self.form, name=name)


class MultiResBlock(nn.Module):
    """Three 3x3 convolutions in a chain, all three kept, beside a 1x1 shortcut (figure 3c).

    Their widths are a sixth, a third and a half of ``alpha * width``, each rounded down (section
    3.2 and its equation 2); so the output has ``block_width(width, alpha)`` channels, not
    ``width``.
    """

    width: int
    alpha: float = 1.67
    form: Form = "keras"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays. Raises UserError where ``width`` is too small to be divided."""
        require(self.alpha > 0, "MultiResUNet.alpha", self.alpha, "above 0")
        widths = _widths(self.width, self.alpha)
        if min(widths) < 1:
            raise UserError(
                f"MultiResBlock {self.name}: width={self.width} and alpha={self.alpha} leave a "
                f"convolution without channels {widths}; width must be {6 / self.alpha:.0f} or more"
            )
        shortcut = _brick(self.form, sum(widths), 1, "none", "shortcut")
        shortcut, maps, y = shortcut(x, train=train), [], x
        for i, width in enumerate(widths, start=1):
            y = _brick(self.form, width, 3, "relu", f"conv{i}")(y, train=train)
            maps.append(y)
        y = shortcut + _norm(self.form, "norm")(jnp.concatenate(maps, axis=-1), train=train)
        norm = _norm(self.form, "out_norm")
        if self.form == "torch":
            return nn.relu(norm(y, train=train))
        return norm(nn.relu(y), train=train)


class ResPath(nn.Module):
    """``length`` residual 3x3 convolutions in the place of a skip connection (figure 4).

    The paper's lengths are 4, 3, 2, 1, finest first.
    """

    features: int
    length: int
    form: Form = "keras"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """The size stays."""
        for i in range(self.length):
            shortcut = self._conv(1, "none", f"shortcut{i}")
            conv = self._conv(3, "relu", f"conv{i}")
            norm = _norm(self.form, f"norm{i}")
            x, y = shortcut(x, train=train), conv(x, train=train)
            if self.form == "torch":
                x = nn.relu(norm(x + nn.relu(norm(y, train=train)), train=train))
            else:
                x = norm(nn.relu(x + y), train=train)
        return x

    def _conv(self, kernel_size: int, activation: Activation, name: str) -> nn.Module:
        return _brick(self.form, self.features, kernel_size, activation, name)


def _brick(
    form: Form, features: int, kernel_size: int, activation: Activation, name: str
) -> nn.Module:
    """A convolution and its norm, as the form has them."""
    if form == "torch":
        return ConvNorm(features, kernel_size, activation=activation, use_bias=True, name=name)
    return _ConvBias(features, kernel_size, activation, name=name)


def _norm(form: Form, name: str) -> Norm:
    return (
        Norm(name=name) if form == "torch" else Norm(epsilon=EPSILON, momentum=MOMENTUM, name=name)
    )


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
    """A 1x1 convolution and a batch norm, with a bias after it or before: float32."""

    features: int
    form: Form

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        if self.form == "torch":
            return Norm(name="norm")(Head(self.features, name="conv")(x), train=train)
        x = Head(self.features, use_bias=False, name="conv")(x)
        x = Norm(affine=False, epsilon=EPSILON, momentum=MOMENTUM, name="norm")(x, train=train)
        return add_bias(self, x)
