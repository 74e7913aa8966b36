"""MobileNetV2: Inverted Residuals and Linear Bottlenecks.

Sandler, Howard, Zhu, Zhmoginov, Chen 2018, https://arxiv.org/abs/1801.04381

Without the classifier, but with the 1x1 convolution before it.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.dilation import Place, feature_strides, places
from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, InvertedResidual, Kind
from jaxseg.types import Names

ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2: expansion, channels, blocks, stride of the first."""


class MobileNetV2(nn.Module):
    """Stem (3x3, stride 2, ``width`` channels), the blocks of ``rows``, a 1x1 to ``last``.

    Features: the last block before each stride, and the last convolution. ``output_stride`` 16 or
    8 trades the last strides for dilation of all blocks from there on.
    """

    rows: tuple[tuple[int, int, int, int], ...] = ROWS
    width: int = 32
    last: int = 1280
    output_stride: Literal[8, 16, 32] = 32
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return feature_strides((stride for *_, stride in self.rows), self.output_stride)

    @property
    def names(self) -> Names:
        """Torchvision's places, and timm's."""
        blocks = self._blocks()
        pairs = [
            (r"features\.0\.(?:0|1)", "stem_conv"),
            (rf"features\.{len(blocks) + 1}\.(?:0|1)", "last_conv"),
        ]
        for i, (expansion, *_) in enumerate(blocks, start=1):
            parts, place = ["expand", "depthwise"][expansion == 1 :], rf"features\.{i}\.conv"
            for j, part in enumerate(parts):
                pairs.append((rf"{place}\.{j}\.0", f"block{i}.{part}_conv!"))
                pairs.append((rf"{place}\.{j}\.1", f"block{i}.{part}_norm!"))
            pairs.append((rf"{place}\.{len(parts)}", f"block{i}.project_conv!"))
            pairs.append((rf"{place}\.{len(parts) + 1}", f"block{i}.project_norm!"))
        return {"torchvision": tuple(pairs), "timm": self._of_timm()}

    def _of_timm(self) -> tuple[tuple[str, str], ...]:
        """Blocks are numbered within their row, and norms within their block."""
        pairs, number = [("conv_stem", "stem_conv.conv!"), ("bn1", "stem_conv.norm!")], 0
        for row, (expansion, _, blocks, _) in enumerate(self.rows):
            parts = (("expand", "pw"), ("depthwise", "dw"), ("project", "pwl"))
            if expansion == 1:
                parts = (("depthwise", "dw"), ("project", "pw"))
            for i in range(blocks):
                number += 1
                for j, (part, theirs) in enumerate(parts, start=1):
                    place, ours = rf"blocks\.{row}\.{i}", f"block{number}.{part}"
                    pairs.append((rf"{place}\.conv_{theirs}", f"{ours}_conv!"))
                    pairs.append((rf"{place}\.bn{j}", f"{ours}_norm!"))
        return (*pairs, ("conv_head", "last_conv.conv!"), ("bn2", "last_conv.norm!"))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first, or the first ``count`` of them."""
        x, features = standardized(image, self.standardize), []
        stem = ConvNorm(self.width, stride=2, norm=self.norm, activation="relu6", name="stem_conv")
        x = stem(x, train=train)
        for i, (expansion, channels, place) in enumerate(self._blocks(), start=1):
            if len(features) == count:
                return tuple(features)
            block = InvertedResidual(
                channels,
                width=expansion * x.shape[-1],
                stride=place.stride,
                dilation=place.dilation,
                norm=self.norm,
                name=f"block{i}",
            )
            x = block(x, train=train)
            if place.last:
                features.append(x)
        last = ConvNorm(
            self.last, kernel_size=1, norm=self.norm, activation="relu6", name="last_conv"
        )
        return (*features[:-1], last(x, train=train))

    def _blocks(self) -> list[tuple[int, int, Place]]:
        """Expansion, channels and place of each block."""
        each = [(t, c, 1 if i else s) for t, c, n, s in self.rows for i in range(n)]
        found = places((stride for *_, stride in each), self.output_stride)
        return [(t, c, place) for (t, c, _), place in zip(each, found, strict=True)]
