"""EfficientNet-Lite0: EfficientNet for devices without squeezes and with ReLU6.

Tan, Le 2019, https://arxiv.org/abs/1905.11946; the Lite form is released code alone,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (2020).

Without the classifier and the 1x1 convolution before it.
"""

import math
from typing import Any, Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.dilation import Place, feature_strides, places
from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, InvertedResidual, Kind
from jaxseg.types import Names

ROWS = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
"""Table 1: kernel, expansion, channels, blocks, stride of the first."""


Row = tuple[int, int, int, int, int]


LITE = {"0": (1.0, 1.0), "1": (1.0, 1.1), "2": (1.1, 1.2), "3": (1.2, 1.4), "4": (1.4, 1.8)}
"""Factors of widths and depths of Lite0 to Lite4."""


def scaled(width: float, depth: float) -> tuple[Row, ...]:
    """The rows of a member, by its factors of width and depth (`LITE`).

    Channels are multiples of 8, at least nine tenths of what the factor says; the first and the
    last row keep their one block.
    """
    rows = []
    for i, (kernel_size, expansion, channels, blocks, stride) in enumerate(ROWS):
        wide = channels * width
        nearest = max(8, int(wide + 4) // 8 * 8)
        channels = nearest + 8 if nearest < 0.9 * wide else nearest
        blocks = blocks if i in (0, len(ROWS) - 1) else math.ceil(blocks * depth)
        rows.append((kernel_size, expansion, channels, blocks, stride))
    return tuple(rows)


class EfficientNetLite(nn.Module):
    """Stem (3x3, stride 2, ``width`` channels) and the blocks of ``rows``.

    Features: the stem, and the last block before each further stride. Convolutions are padded as
    TensorFlow does (``same``), which its weights expect. ``output_stride`` 16 or 8 trades the last
    strides for dilation of all blocks from there on. Norms have an epsilon of 0.001. With
    ``form="pytorch"`` padding is PyTorch's and the epsilon 1e-5: weights that timm trained itself
    (``efficientnet_lite0``, where ``tf_efficientnet_lite0`` are TensorFlow's). ``unread`` is the
    width of a last 1x1 convolution that no feature shows, as segmentation_models_pytorch keeps the
    classifier's (1280; 0: none).
    """

    rows: tuple[Row, ...] = ROWS
    width: int = 32
    output_stride: Literal[8, 16, 32] = 32
    norm: Kind = "batch"
    standardize: Standardize | None = None
    form: Literal["tensorflow", "pytorch"] = "tensorflow"
    unread: int = 0

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return feature_strides((stride for *_, stride in self.rows), self.output_stride)

    @property
    def names(self) -> Names:
        """Timm's places, which are segmentation_models_pytorch's."""
        pairs = [("conv_stem", "stem_conv.conv!"), ("bn1", "stem_conv.norm!")]
        if self.unread:
            pairs += [("conv_head", "unread_conv.conv!"), ("bn2", "unread_conv.norm!")]
        for row, (_, expansion, _, blocks, _) in enumerate(self.rows):
            parts = (("expand", "pw"), ("depthwise", "dw"), ("project", "pwl"))
            if expansion == 1:
                parts = (("depthwise", "dw"), ("project", "pw"))
            for i in range(blocks):
                for j, (part, theirs) in enumerate(parts, start=1):
                    place, ours = rf"blocks\.{row}\.{i}", f"stage{row}_block{i}.{part}"
                    pairs.append((rf"{place}\.conv_{theirs}", f"{ours}_conv!"))
                    pairs.append((rf"{place}\.bn{j}", f"{ours}_norm!"))
        return dict.fromkeys(("timm", "segmentation_models_pytorch"), tuple(pairs))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first, or the first ``count`` of them."""
        stem = ConvNorm(
            self.width,
            stride=2,
            norm=self.norm,
            activation="relu6",
            **self._how,
            name="stem_conv",
        )
        x = stem(standardized(image, self.standardize), train=train)
        features, strided = [x], False
        for name, kernel_size, expansion, channels, place in self._blocks():
            if place.first and strided:  # of the stem's resolution is the stem alone
                features.append(x)
            if len(features) == count:
                return tuple(features)
            strided = strided or place.first
            block = InvertedResidual(
                channels,
                width=expansion * x.shape[-1],
                kernel_size=kernel_size,
                stride=place.stride,
                dilation=place.dilation,
                norm=self.norm,
                **self._how,
                name=name,
            )
            x = block(x, train=train)
        if self.unread:
            ConvNorm(self.unread, kernel_size=1, norm=self.norm, **self._how, name="unread_conv")(
                x, train=train
            )
        return (*features, x)

    @property
    def _how(self) -> dict[str, Any]:
        """Padding, and the norms' epsilon and momentum."""
        if self.form == "pytorch":
            return {"padding": None, "epsilon": 1e-5, "momentum": 0.9}
        return {"padding": "same", "epsilon": 1e-3, "momentum": 0.99}

    def _blocks(self) -> list[tuple[str, int, int, int, Place]]:
        """Name, kernel size, expansion, channels and place of each block."""
        each = [
            (f"stage{row}_block{i}", k, t, c, 1 if i else s)
            for row, (k, t, c, n, s) in enumerate(self.rows)
            for i in range(n)
        ]
        found = places((stride for *_, stride in each), self.output_stride)
        return [(*block[:4], place) for block, place in zip(each, found, strict=True)]
