"""EfficientNet-Lite0: EfficientNet for devices without squeezes and with ReLU6.

Tan, Le 2019, https://arxiv.org/abs/1905.11946; the Lite form is released code alone,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (2020).

Without the classifier and the 1x1 convolution before it.
"""

from typing import Literal

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


class EfficientNetLite(nn.Module):
    """Stem (3x3, stride 2, ``width`` channels) and the blocks of ``rows``.

    Features: the stem, and the last block before each further stride. Convolutions are padded as
    TensorFlow does (``same``), which its weights expect. ``output_stride`` 16 or 8 trades the last
    strides for dilation of all blocks from there on. Norms have an epsilon of 0.001.
    """

    rows: tuple[tuple[int, int, int, int, int], ...] = ROWS
    width: int = 32
    output_stride: Literal[8, 16, 32] = 32
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return feature_strides((stride for *_, stride in self.rows), self.output_stride)

    @property
    def names(self) -> Names:
        """Timm's places, which are segmentation_models_pytorch's."""
        pairs = [("conv_stem", "stem_conv.conv!"), ("bn1", "stem_conv.norm!")]
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
            padding="same",
            norm=self.norm,
            activation="relu6",
            epsilon=1e-3,
            momentum=0.99,
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
                padding="same",
                norm=self.norm,
                epsilon=1e-3,
                momentum=0.99,
                name=name,
            )
            x = block(x, train=train)
        return (*features, x)

    def _blocks(self) -> list[tuple[str, int, int, int, Place]]:
        """Name, kernel size, expansion, channels and place of each block."""
        each = [
            (f"stage{row}_block{i}", k, t, c, 1 if i else s)
            for row, (k, t, c, n, s) in enumerate(self.rows)
            for i in range(n)
        ]
        found = places((stride for *_, stride in each), self.output_stride)
        return [(*block[:4], place) for block, place in zip(each, found, strict=True)]
