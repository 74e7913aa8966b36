"""Xception: Deep Learning with Depthwise Separable Convolutions.

Chollet 2017, https://arxiv.org/abs/1610.02357

Differs from the paper in the padding of the stem, so that strides are 2, 4, 8, ... as
segmentation_models_pytorch's "xception" has them; ``stem="valid"`` is the paper's, with the same
weights. Without the classifier and the ReLU before its mean.
"""

from typing import ClassVar, Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, Kind, SeparableConv
from jaxseg.ops import max_pool
from jaxseg.types import Names

Block = tuple[tuple[int, ...], Literal[1, 2]]
"""Widths and stride."""


def _names() -> tuple[tuple[str, str], ...]:
    """Timm's places; numbers in ``rep`` count ReLUs, and ``block1`` begins without one."""
    pairs = [
        (r"(?:conv|bn)([12])", r"stem_conv\1"),
        (r"block(\d+)\.(?:skip|skipbn)", r"block\1.shortcut"),
    ]
    for blocks, before in (("1", 0), (r"\d+", 1)):
        for i in (1, 2, 3):
            place, ours = rf"block({blocks})\.rep\.{3 * (i - 1) + before}", rf"block\1.separable{i}"
            pairs.append((rf"{place}\.conv1", f"{ours}.depthwise!"))
            pairs.append((rf"{place}\.pointwise", f"{ours}.pointwise!"))
            norm = rf"block({blocks})\.rep\.{3 * (i - 1) + before + 1}"
            pairs.append((norm, f"{ours}.pointwise_norm!"))
    for number, ours in (("3", "exit_separable1"), ("4", "exit_separable2")):
        pairs.append((rf"conv{number}\.conv1", f"{ours}.depthwise!"))
        pairs.append((rf"conv{number}\.pointwise", f"{ours}.pointwise!"))
        pairs.append((rf"bn{number}", f"{ours}.pointwise_norm!"))
    return tuple(pairs)


class Xception(nn.Module):
    """Entry, middle and exit flow (figure 5): a stem, residual blocks of separable convolutions.

    Features: the stem, each entry block but the last, the last middle block, and the last norm.
    ``entry`` are the widths of stem and blocks, ``exit`` those of its last three.
    """

    names: ClassVar[Names] = dict.fromkeys(("timm", "segmentation_models_pytorch"), _names())

    entry: tuple[int, ...] = (32, 64, 128, 256, 728)
    middle: int = 8
    exit: tuple[int, int, int] = (1024, 1536, 2048)
    stem: Literal["padded", "valid"] = "padded"
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return tuple(2**i for i in range(1, len(self.entry) + 1))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first, or the first ``count`` of them."""
        x, features = standardized(image, self.standardize), []
        for i, width in enumerate(self.entry[:2], start=1):
            conv = ConvNorm(
                width,
                stride=2 if i == 1 else 1,
                padding=0 if self.stem == "valid" else None,
                norm=self.norm,
                name=f"stem_conv{i}",
            )
            x = conv(x, train=train)
        features.append(x)
        for i, (widths, stride) in enumerate(self._blocks(), start=1):
            if stride > 1 and i > 1:  # which is where a resolution ends
                features.append(x)
            if len(features) == count:
                return tuple(features)
            before = "none" if i == 1 else "relu"
            x = XceptionBlock(widths, stride, before, self.norm, name=f"block{i}")(x, train=train)
        for i, width in enumerate(self.exit[1:], start=1):
            x = SeparableConv(
                width,
                norm=self.norm,
                norm_between=False,
                before="relu" if i > 1 else "none",
                between="none",
                after="none",
                name=f"exit_separable{i}",
            )(x, train=train)
        return (*features, x)

    def _blocks(self) -> list[Block]:
        width = self.entry[-1]
        entry: list[Block] = [((width, width), 2) for width in self.entry[2:]]
        middle: list[Block] = [((width,) * 3, 1)] * self.middle
        return [*entry, *middle, ((width, self.exit[0]), 2)]


class XceptionBlock(nn.Module):
    """``shortcut(x) + pool(branch(x))``; the branch is separable convolutions, a ReLU before each.

    With a stride the branch ends in max pooling and the shortcut is a strided 1x1 and norm.
    """

    widths: tuple[int, ...]
    stride: Literal[1, 2] = 1
    before: Literal["none", "relu"] = "relu"
    norm: Kind = "batch"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *t k"]:
        """A map of ``widths[-1]`` channels; ``before`` is what the branch begins with."""
        y = x
        for i, width in enumerate(self.widths, start=1):
            conv = SeparableConv(
                width,
                norm=self.norm,
                norm_between=False,
                before=self.before if i == 1 else "relu",
                between="none",
                after="none",
                name=f"separable{i}",
            )
            y = conv(y, train=train)
        if self.stride > 1:
            y = max_pool(y, 3, stride=self.stride, padding=1)
        if self.stride > 1 or x.shape[-1] != self.widths[-1]:
            fields = {"kernel_size": 1, "stride": self.stride, "activation": "none"}
            shortcut = ConvNorm(self.widths[-1], norm=self.norm, name="shortcut", **fields)
            x = shortcut(x, train=train)
        return x + y
