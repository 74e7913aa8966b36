"""Aligned Xception, the backbone of DeepLab v3+: Xception-41, 65 and 71.

Chen, Zhu, Papandreou, Schroff, Adam 2018, https://arxiv.org/abs/1802.02611, section 4.2

Strides are those of separable convolutions, not of max pooling, so the network can be dilated.
Norms have an epsilon of 0.001. Without the classifier.
"""

from typing import ClassVar, Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.dilation import feature_strides
from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, Kind, SeparableConv
from jaxseg.types import Names

ENTRY = ((128, 2), (256, 2), (728, 2))
ENTRY_71 = ((128, 2), (256, 1), (256, 2), (728, 1), (728, 2))
"""Channels and stride of each block of the entry flow."""


class AlignedXception(nn.Module):
    """Stem (3x3, stride 2, and 3x3), blocks of three separable convolutions (figure 4).

    Features: in each strided block, what its last convolution strides over; then the last block.
    As in the authors' code they are not activated (``tap="linear"``); timm and
    segmentation_models_pytorch take them after the ReLU (``activated``).

    ``output_stride`` 16 or 8 trades the last strides for dilation of the blocks after them; a
    strided block keeps its own, as in the authors' code. ``exit`` are the widths of the exit flow's
    six convolutions; its last block has no shortcut, and a ReLU after every convolution.
    """

    names: ClassVar[Names] = {
        "timm": (
            (r"stem\.0\.(?:conv|bn)", "stem_conv1"),
            (r"stem\.1\.(?:conv|bn)", "stem_conv2"),
            (r"blocks\.(\d+)\.shortcut\.(?:conv|bn)", r"block\1.shortcut"),
            (r"blocks\.(\d+)\.stack\.conv(\d)\.conv_dw", r"block\1.separable\2.depthwise!"),
            (r"blocks\.(\d+)\.stack\.conv(\d)\.bn_dw", r"block\1.separable\2.depthwise_norm!"),
            (r"blocks\.(\d+)\.stack\.conv(\d)\.conv_pw", r"block\1.separable\2.pointwise!"),
            (r"blocks\.(\d+)\.stack\.conv(\d)\.bn_pw", r"block\1.separable\2.pointwise_norm!"),
        )
    }

    stem: tuple[int, int] = (32, 64)
    entry: tuple[tuple[int, int], ...] = ENTRY
    middle: int = 16
    exit: tuple[int, ...] = (728, 1024, 1024, 1536, 1536, 2048)
    tap: Literal["linear", "activated"] = "linear"
    output_stride: Literal[8, 16, 32] = 32
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return feature_strides((stride for _, stride in self._blocks()), self.output_stride)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first, or the first ``count`` of them."""
        x, features = standardized(image, self.standardize), []
        for i, width in enumerate(self.stem, start=1):
            stride = 2 if i == 1 else 1
            conv = ConvNorm(
                width, stride=stride, norm=self.norm, epsilon=1e-3, name=f"stem_conv{i}"
            )
            x = conv(x, train=train)
        blocks, nominal = self._blocks(), 2
        for i, (widths, stride) in enumerate(blocks):
            before, nominal = min(nominal, self.output_stride), nominal * stride
            block = AlignedBlock(
                widths,
                stride=min(nominal, self.output_stride) // before,
                dilation=nominal // stride // before,
                kind="exit" if i == len(blocks) - 1 else "residual",
                norm=self.norm,
                name=f"block{i}",
            )
            ends = stride > 1 and len(features) + 1 == count
            x, tap = block(x, train=train, ends="tap" if ends else "map")
            if stride > 1:
                features.append(nn.relu(tap) if self.tap == "activated" else tap)
            if len(features) == count:
                return tuple(features)
        return (*features, x)

    def _blocks(self) -> list[tuple[tuple[int, ...], int]]:
        """Widths and stride of each block."""
        entry = [((width,) * 3, stride) for width, stride in self.entry]
        middle = [((self.entry[-1][0],) * 3, 1)] * self.middle
        return [*entry, *middle, (self.exit[:3], 2), (self.exit[3:], 1)]


class AlignedBlock(nn.Module):
    """Three separable convolutions, the last with the stride, norms after both halves of each.

    ``residual``: a ReLU before each, and the sum with x or with its strided 1x1 and norm. ``exit``:
    a ReLU after both halves instead, and no sum.
    """

    widths: tuple[int, ...]
    stride: int = 1
    dilation: int = 1
    kind: Literal["residual", "exit"] = "residual"
    norm: Kind = "batch"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool, ends: Literal["map", "tap"] = "map"
    ) -> tuple[Float[Array, "b *t k"], Float[Array, "b *s d"]]:
        """The block's map, and what its last convolution is given; that alone in both places where
        it ``ends`` at the tap.
        """
        residual, y, tap = self.kind == "residual", x, x
        for i, width in enumerate(self.widths, start=1):
            tap = y
            if i == len(self.widths) and ends == "tap":
                return tap, tap
            conv = SeparableConv(
                width,
                stride=self.stride if i == len(self.widths) else 1,
                dilation=self.dilation,
                norm=self.norm,
                before="relu" if residual else "none",
                between="none" if residual else "relu",
                after="none" if residual else "relu",
                epsilon=1e-3,
                name=f"separable{i}",
            )
            y = conv(y, train=train)
        if not residual:
            return y, tap
        if self.stride > 1 or x.shape[-1] != self.widths[-1]:
            fields = {"kernel_size": 1, "stride": self.stride, "activation": "none"}
            shortcut = ConvNorm(
                self.widths[-1], norm=self.norm, epsilon=1e-3, name="shortcut", **fields
            )
            x = shortcut(x, train=train)
        return x + y, tap
