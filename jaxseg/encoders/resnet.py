"""Deep Residual Learning for Image Recognition.

He, Zhang, Ren, Sun 2016, https://arxiv.org/abs/1512.03385

Differs from the paper, as torchvision's "v1.5" does: a bottleneck strides in its 3x3, not in its
first 1x1. Without the classifier.
"""

from typing import ClassVar, Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, Kind, ResidualBlock
from jaxseg.ops import max_pool
from jaxseg.types import Names

BLOCKS = {
    10: (1, 1, 1, 1),  # not in the paper: the smallest of the family
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class ResNet(nn.Module):
    """Stem (7x7, stride 2), max pooling (3x3, stride 2), four stages of residual blocks.

    Features: stem and stages. ``width`` is that of the stem and the first stage (64 in the
    paper). ``output_stride`` 16 or 8 trades the last strides for dilation; **all** blocks of such
    a stage get the new dilation, as in TF-DeepLab, semseg and segmentation_models_pytorch
    (torchvision's first block keeps the old one: same weights, other outputs).
    """

    names: ClassVar[Names] = {
        "torchvision": (
            (r"(conv|bn)1", "stem_conv"),
            (r"layer(\d)\.(\d+)\.(?:conv|bn)(\d)", r"layer\1_block\2.conv\3"),
            (r"layer(\d)\.(\d+)\.downsample\.\d", r"layer\1_block\2.shortcut"),
        )
    }

    depth: Literal[10, 18, 34, 50, 101, 152] = 50
    width: int = 64
    output_stride: Literal[8, 16, 32] = 32
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return tuple(min(stride, self.output_stride) for stride in (2, 4, 8, 16, 32))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool
    ) -> tuple[Float[Array, "b ..."], ...]:
        """Five features, finest first."""
        stem = ConvNorm(
            self.width,
            kernel_size=7,
            stride=2,
            norm=self.norm,
            name="stem_conv",
        )
        x = stem(standardized(image, self.standardize), train=train)
        features = [x]
        x = max_pool(x, 3, stride=2, padding=1)
        for stage, blocks in enumerate(BLOCKS[self.depth], start=1):
            stride = self.strides[stage] // self.strides[stage - 1] if stage > 1 else 1
            for i in range(blocks):
                x = self._block(stage, i, 1 if i else stride)(x, train=train)
            features.append(x)
        return tuple(features)

    def _block(self, stage: int, i: int, stride: int) -> ResidualBlock:
        width, basic = self.width * 2 ** (stage - 1), self.depth < 50
        return ResidualBlock(
            width if basic else 4 * width,
            kind="basic" if basic else "bottleneck",
            stride=stride,
            dilation=2 ** (stage + 1) // self.strides[stage],
            norm=self.norm,
            name=f"layer{stage}_block{i}",
        )
