"""Understanding Convolution for Semantic Segmentation: hybrid dilation and dense upsampling.

Wang, Chen, Yuan, Liu, Huang, Hou, Cottrell 2018, https://arxiv.org/abs/1702.08502, section 3

The network is the released one: ResNet-101 with a deep stem, and in place of one convolution to the
classes of each block of pixels the sum of four dilated ones. The community's PyTorch form
(zijundeng/pytorch-semantic-segmentation) is ``HDCDUC(k, encoder=ResNet(152, output_stride=8),
upsampling="conv_norm")``, without hybrid dilation.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.layers import Conv, ConvNorm, Kind
from jaxseg.layers.activation import Activation
from jaxseg.layers.aspp import SummedASPP
from jaxseg.ops import crop, pad_to_multiple, pixel_shuffle
from jaxseg.types import Names, Paper, Prediction

FOURTH = (2, 2, 5, 9, *(1, 2, 5, 9) * 4, 1, 2, 5)
"""Dilations of the released network's fourth stage."""


class HDCDUC(nn.Module):
    """An encoder at stride 8, a convolution to 64 times the classes, shuffled to pixels.

    The factor is the encoder's stride. ``upsampling`` is the sum of dilated convolutions of
    ``rates`` (``aspp``), one 3x3 (``conv``, the paper's figure 1), or that with norm and ReLU
    (``conv_norm``). The encoder's ``dilations``, where it names its own, must leave no pixel of
    their field unseen (`check_rates`). Sizes are padded with zeros to multiples of the stride, at
    the end. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Understanding Convolution for Semantic Segmentation",
        "Wang",
        2018,
        "https://arxiv.org/abs/1702.08502",
    )

    names: ClassVar[Names] = {
        "semseg": (
            *((pattern, f"encoder.{name}") for pattern, name in ResNet.names["semseg"]),
            *((rf"aspp\.c{i}", f"aspp.dilated{i + 1}!") for i in range(4)),
        ),
    }

    num_classes: int
    encoder: nn.Module = ResNet(
        101, stem="deep", strided="1x1", output_stride=8, dilations=(FOURTH, (5, 9, 17))
    )
    upsampling: Literal["aspp", "conv", "conv_norm"] = "aspp"
    rates: tuple[int, ...] = (6, 12, 18, 24)
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """That of the encoder, by which its map is enlarged."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size. UserError where the encoder's dilations leave holes."""
        if dilations := sum(getattr(self.encoder, "dilations", ()), ()):
            check_rates(dilations, layer="HDCDUC: the encoder's")
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        *_, x = self.encoder(x, train=train)
        if self.upsampling == "conv":
            x = DenseUpsampling(self.num_classes, self.stride, name="duc")(x)
            return Prediction(crop(x.astype(jnp.float32), image.shape[1:-1]))
        features = self.num_classes * self.stride ** (x.ndim - 2)
        if self.upsampling == "aspp":
            x = SummedASPP(features, self.rates, name="aspp")(x, train=train)
        else:
            conv = ConvNorm(features, norm=self.norm, use_bias=True, name="duc")
            x = conv(x, train=train)
        x = pixel_shuffle(x.astype(jnp.float32), self.stride)
        return Prediction(crop(x, image.shape[1:-1]))


class DenseUpsampling(nn.Module):
    """A convolution to ``factor ** rank`` times the features, and their rearrangement in space.

    The order of the channels is that of ``pixel_shuffle``.
    """

    features: int
    factor: int = 8
    kernel_size: int = 3

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t {self.features}"]:
        """A map with each axis ``factor`` times as long."""
        conv = Conv(
            self.features * self.factor ** (x.ndim - 2), kernel_size=self.kernel_size, name="conv"
        )
        return pixel_shuffle(conv(x), self.factor)


class HybridDilation(nn.Module):
    """A chain of dilated ``ConvNorm``, one a rate; the rates go through ``check_rates``."""

    features: int
    rates: tuple[int, ...] = (1, 2, 5)
    kernel_size: int = 3
    norm: Kind = "batch"
    activation: Activation = "relu"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays."""
        check_rates(self.rates, self.kernel_size, f"HybridDilation {self.name}")
        for number, rate in enumerate(self.rates, start=1):
            conv = ConvNorm(
                self.features,
                kernel_size=self.kernel_size,
                dilation=rate,
                norm=self.norm,
                activation=self.activation,
                name=f"conv{number}",
            )
            x = conv(x, train=train)
        return x


def cycle_rates(rates: Sequence[int], depth: int) -> tuple[int, ...]:
    """The rates of ``depth`` layers in a row: the sawtooth of the paper's figure 3.

    The released ResNet-101 is ``(2, 2, 5, 9)``, then ``(1, 2, 5, 9)`` again and again for the 23
    blocks of its fourth stage, and ``(5, 9, 17)`` for the fifth's.
    """
    return tuple(rates[i % len(rates)] for i in range(depth))


def largest_gap(rates: Sequence[int]) -> int:
    """``M_2`` of equation 2: the farthest apart that two pixels seen by layers 2..n may lie.

    ``M_i = max(M_{i+1} - 2 r_i, 2 r_i - M_{i+1}, r_i)``, ``M_n = r_n``.
    """
    gap = rates[-1]
    for rate in reversed(rates[1:-1]):
        gap = max(gap - 2 * rate, 2 * rate - gap, rate)
    return gap


def check_rates(
    rates: Sequence[int], kernel_size: int = 3, layer: str = "hybrid dilation"
) -> tuple[int, ...]:
    """``rates`` again, or UserError where convolutions of these rates in a row leave holes.

    They leave none exactly where, in ascending order, no rate is larger than the field of those
    before it, ``1 + (kernel_size - 1) sum r``. For rates that ascend from 1 and 3x3 kernels this
    is the paper's design rule ``M_2 <= kernel_size``, with its ban on a common factor; the rule
    itself depends on the order, which the holes do not, and is too strict for larger kernels.

    Rates are of a whole path of layers: (5, 9, 17), the fifth stage of the paper's ResNet-101,
    has holes alone and has none after its fourth.
    """
    if not rates or min(rates) < 1:
        raise UserError(f"{layer}: rates={tuple(rates)}; it takes one or more, each at least 1")
    fitting, field = [], 1
    for rate in sorted(rates):
        fitting.append(min(rate, field))
        field += (kernel_size - 1) * fitting[-1]
    if fitting != sorted(rates):
        raise UserError(
            f"{layer}: rates={tuple(rates)} leave pixels of their field unseen (M_2 = "
            f"{largest_gap(rates)}, kernel_size = {kernel_size}); {tuple(fitting)} leave none"
        )
    return tuple(rates)
