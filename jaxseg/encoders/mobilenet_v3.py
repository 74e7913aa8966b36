"""Searching for MobileNetV3: the large network.

Howard et al. 2019, https://arxiv.org/abs/1905.02244

Without the classifier, but with the 1x1 convolution before its mean.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.dilation import Place, feature_strides, places
from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, InvertedResidual, Kind, SqueezeExcitation
from jaxseg.types import Names

Row = tuple[int, int, int, int, Literal["relu", "hard_swish"], int]

LARGE: tuple[Row, ...] = (
    (3, 16, 16, 0, "relu", 1),
    (3, 64, 24, 0, "relu", 2),
    (3, 72, 24, 0, "relu", 1),
    (5, 72, 40, 24, "relu", 2),
    (5, 120, 40, 32, "relu", 1),
    (5, 120, 40, 32, "relu", 1),
    (3, 240, 80, 0, "hard_swish", 2),
    (3, 200, 80, 0, "hard_swish", 1),
    (3, 184, 80, 0, "hard_swish", 1),
    (3, 184, 80, 0, "hard_swish", 1),
    (3, 480, 112, 120, "hard_swish", 1),
    (3, 672, 112, 168, "hard_swish", 1),
    (5, 672, 160, 168, "hard_swish", 2),
    (5, 960, 160, 240, "hard_swish", 1),
    (5, 960, 160, 240, "hard_swish", 1),
)
"""Table 1: kernel, expanded channels, channels, those squeezed to (0: not), activation, stride."""


class MobileNetV3(nn.Module):
    """Stem (3x3, stride 2, ``width`` channels), a block a row, a 1x1 to ``last``.

    Features: with ``tap="last"`` the last block before each stride (segmentation_models_pytorch);
    with ``first`` the strided block itself, as torchvision's LR-ASPP and DeepLab v3 take them, and
    the stem. The last feature is the last convolution. ``output_stride`` 16 or 8 trades the last
    strides for dilation of all blocks from there on. Norms have an epsilon of 0.001 and
    remember long (PyTorch's momentum 0.01), as in the paper.
    """

    rows: tuple[Row, ...] = LARGE
    width: int = 16
    last: int = 960
    tap: Literal["last", "first"] = "last"
    output_stride: Literal[8, 16, 32] = 32
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return feature_strides((stride for *_, stride in self.rows), self.output_stride)

    @property
    def names(self) -> Names:
        """Torchvision's places."""
        pairs = [
            (r"features\.0\.(?:0|1)", "stem_conv"),
            (rf"features\.{len(self.rows) + 1}\.(?:0|1)", "last_conv"),
        ]
        before = self.width
        for i, (_, width, channels, squeezed, *_) in enumerate(self.rows, start=1):
            parts = ["expand", "depthwise", "squeeze", "project"]
            parts = parts[width == before :]
            parts = [part for part in parts if squeezed or part != "squeeze"]
            for j, part in enumerate(parts):
                place = rf"features\.{i}\.block\.{j}"
                if part == "squeeze":
                    pairs.append((rf"{place}\.fc1", f"block{i}.squeeze.reduce!"))
                    pairs.append((rf"{place}\.fc2", f"block{i}.squeeze.expand!"))
                else:
                    pairs.append((rf"{place}\.0", f"block{i}.{part}_conv!"))
                    pairs.append((rf"{place}\.1", f"block{i}.{part}_norm!"))
            before = channels
        return {"torchvision": tuple(pairs)}

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first, or the first ``count`` of them."""
        x = standardized(image, self.standardize)
        x = self._conv(self.width, "stem_conv", kernel_size=3, stride=2)(x, train=train)
        features = [x] if self.tap == "first" else []
        count = None if count == len(self.strides) else count
        strides = (stride for *_, stride in self.rows)
        for i, place in enumerate(places(strides, self.output_stride)):
            if len(features) == count:
                return tuple(features)
            x = self._block(i, place)(x, train=train)
            if place.first if self.tap == "first" else place.last:
                features.append(x)
        return (*features[:-1], self._conv(self.last, "last_conv")(x, train=train))

    def _block(self, i: int, place: Place) -> InvertedResidual:
        kernel_size, width, channels, squeezed, activation, _ = self.rows[i]
        squeeze = None
        if squeezed:  # without a parent: it is the block's, not the encoder's
            squeeze = SqueezeExcitation(width=squeezed, gate="hard_sigmoid", parent=None)
        return InvertedResidual(
            channels,
            width=width,
            kernel_size=kernel_size,
            stride=place.stride,
            dilation=place.dilation,
            activation=activation,
            squeeze=squeeze,
            norm=self.norm,
            epsilon=1e-3,
            momentum=0.99,
            name=f"block{i + 1}",
        )

    def _conv(self, features: int, name: str, kernel_size: int = 1, stride: int = 1) -> ConvNorm:
        return ConvNorm(
            features,
            kernel_size=kernel_size,
            stride=stride,
            norm=self.norm,
            activation="hard_swish",
            epsilon=1e-3,
            momentum=0.99,
            name=name,
        )
