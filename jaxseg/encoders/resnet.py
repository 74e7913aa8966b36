"""Deep Residual Learning for Image Recognition; with groups, ResNeXt.

He, Zhang, Ren, Sun 2016, https://arxiv.org/abs/1512.03385;
Xie, Girshick, Dollár, Tu, He 2017, https://arxiv.org/abs/1611.05431

Differs from the paper, as torchvision's "v1.5" does: a bottleneck strides in its 3x3, not in its
first 1x1 (``strided="1x1"`` is the paper: the weights of MSRA, DeepLab v2 and RefineNet). Without
the classifier.
"""

from typing import ClassVar, Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.errors import UserError
from jaxseg.layers import ConvNorm, Kind, ResidualBlock
from jaxseg.layers.residual import Strided
from jaxseg.ops import max_pool
from jaxseg.types import Names

BLOCKS = {
    10: (1, 1, 1, 1),  # not in the paper: the smallest of the family, and of bottlenecks
    14: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}

BASIC = (10, 18, 34)
"""Depths whose blocks are basic; those of the others are bottlenecks."""

_STAGES = (
    (r"layer(\d)\.(\d+)\.(?:conv|bn)(\d)", r"layer\1_block\2.conv\3"),
    (r"layer(\d)\.(\d+)\.downsample\.(?:0|1)", r"layer\1_block\2.shortcut"),
)


class ResNet(nn.Module):
    """Stem (stride 2), max pooling (3x3, stride 2), four stages of residual blocks.

    Features: stem and stages. ``width`` is that of the stem and the first stage (64 in the
    paper). ``stem`` is one 7x7 convolution or ``deep``: three 3x3, the last twice as wide (PSPNet,
    TF-DeepLab). ``groups`` and ``base_width`` (channels a group in the first stage, at width 64)
    are of bottlenecks: ResNeXt-50 32x4d has 32 and 4, wide ResNet 1 and 128.

    ``output_stride`` 16 or 8 trades the last strides for dilation. With ``dilated="all"`` every
    block of such a stage has the new dilation, as in TF-DeepLab, semseg and
    segmentation_models_pytorch; with ``after_first`` the first block keeps the old one, as in
    torchvision: same weights, other outputs. ``multi_grid`` multiplies the dilation of the last
    stage's blocks (DeepLab v3: ``(1, 2, 4)``); empty is 1 each. ``dilations`` are, for as many of
    the last stages as it has entries, those of each block (HDC). ``pool="ceil"`` rounds the size
    after max pooling up (DeepLab v2), so that strides hold but for one pixel more.
    """

    names: ClassVar[Names] = {
        **dict.fromkeys(("torchvision", "timm"), ((r"(?:conv|bn)1", "stem_conv"), *_STAGES)),
        "semseg": ((r"(?:conv|bn)([123])", r"stem_conv\1"), *_STAGES),
    }

    depth: Literal[10, 14, 18, 34, 50, 101, 152] = 50
    width: int = 64
    groups: int = 1
    base_width: int = 64
    stem: Literal["7x7", "deep"] = "7x7"
    strided: Strided = "3x3"
    output_stride: Literal[8, 16, 32] = 32
    dilated: Literal["all", "after_first"] = "all"
    multi_grid: tuple[int, ...] = ()
    dilations: tuple[tuple[int, ...], ...] = ()
    pool: Literal["floor", "ceil"] = "floor"
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return tuple(min(stride, self.output_stride) for stride in (2, 4, 8, 16, 32))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """Five features, finest first, or the first ``count`` of them.

        Raises UserError where fields do not fit each other.
        """
        self._check()
        x = standardized(image, self.standardize)
        for name, width, size, stride in self._stem():
            conv = ConvNorm(width, kernel_size=size, stride=stride, norm=self.norm, name=name)
            x = conv(x, train=train)
        features = [x]
        for stage, blocks in enumerate(BLOCKS[self.depth][: count and count - 1], start=1):
            if stage == 1:
                x = max_pool(x, 3, stride=2, padding=1, ceil_mode=self.pool == "ceil")
            for i in range(blocks):
                x = self._block(stage, i)(x, train=train)
            features.append(x)
        return tuple(features)

    def _stem(self) -> tuple[tuple[str, int, int, int], ...]:
        """Name, width, kernel size and stride of each convolution."""
        if self.stem == "7x7":
            return (("stem_conv", self.width, 7, 2),)
        widths = (self.width, self.width, 2 * self.width)
        return tuple((f"stem_conv{i + 1}", w, 3, 1 if i else 2) for i, w in enumerate(widths))

    def _block(self, stage: int, i: int) -> ResidualBlock:
        planes, basic = self.width * 2 ** (stage - 1), self.depth in BASIC
        before = self.strides[max(stage - 1, 1)]  # max pooling gives the first stage its stride
        keeps = i == 0 and self.dilated == "after_first"
        dilation = self._dilation(stage - 1 if keeps else stage)
        if stage == 4 and self.multi_grid:
            dilation *= self.multi_grid[i]
        if (own := stage - 5 + len(self.dilations)) >= 0:
            dilation = self.dilations[own][i]
        return ResidualBlock(
            planes if basic else 4 * planes,
            kind="basic" if basic else "bottleneck",
            width=planes if basic else planes * self.base_width // 64 * self.groups,
            stride=1 if i else self.strides[stage] // before,
            strided=self.strided,
            dilation=dilation,
            groups=self.groups,
            norm=self.norm,
            name=f"layer{stage}_block{i}",
        )

    def _dilation(self, stage: int) -> int:
        """How much the stage's stride falls short of 4, 8, 16, 32; stage 0 is the stem."""
        return 2 ** (stage + 1) // self.strides[stage]

    def _check(self) -> None:
        if self.depth in BASIC and (self.groups, self.base_width, self.strided) != (1, 64, "3x3"):
            raise UserError(
                f"depth={self.depth}: groups, base_width and strided are of bottlenecks: of depths "
                "14, 50, 101 and 152"
            )
        if self.width * self.base_width < 64:
            raise UserError(
                f"base_width={self.base_width}: leaves no channel at width={self.width}; at least "
                f"{-(-64 // self.width)} does"
            )
        if self.multi_grid and len(self.multi_grid) != BLOCKS[self.depth][-1]:
            raise UserError(
                f"multi_grid={self.multi_grid}: must have a factor for each of the last stage's "
                f"{BLOCKS[self.depth][-1]} blocks, or none"
            )
        wanted = BLOCKS[self.depth][4 - len(self.dilations) :] if self.dilations else ()
        if tuple(map(len, self.dilations)) != wanted:
            raise UserError(
                f"dilations={self.dilations}: must have a dilation for each block of the last "
                f"stages; depth={self.depth} has {BLOCKS[self.depth]} blocks"
            )
