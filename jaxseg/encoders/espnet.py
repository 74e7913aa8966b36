"""ESPNet-C: the encoder of ESPNet, and the efficient spatial pyramid that it is made of.

Mehta, Rastegari, Caspi, Shapiro, Hajishirzi 2018, https://arxiv.org/abs/1803.06815, figures 1, 3, 4
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.errors import require
from jaxseg.layers import Conv, ConvNorm, Kind, Norm
from jaxseg.ops import average_pool
from jaxseg.types import Names

EPSILON = 1e-3
"""Of every batch norm in the released network."""

RATES = (1, 2, 4, 8, 16)
"""Dilations of the pyramid's convolutions; the paper's K is their number."""


def _of_block(theirs: str, ours: str, norm: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"{theirs}\.c1\.conv", f"{ours}.reduce!"),
        (rf"{theirs}\.d(?P<rate>\d+)\.conv", rf"{ours}.dilated\g<rate>!"),
        (rf"{theirs}\.{norm}bn", f"{ours}.norm!"),
        (rf"{theirs}\.{norm}act", f"{ours}.norm@slope"),
    )


class ESPNetC(nn.Module):
    """A strided convolution and two levels of pyramids, each joined to the shrunken image.

    ``widths`` are those of the convolution and of the pyramids of each level, ``depths`` the
    pyramids of a level after the one that halves its size (the paper's alpha 2 and 3). Features:
    what the convolution makes, and what the first and the last pyramid of a level do, beside each
    other and beside the image, averaged to that size (not in the last), all normalised together.
    """

    names: ClassVar[Names] = {
        "sacmehta/ESPNet": (
            (r"level1\.conv", "stem_conv.conv!"),
            (r"level1\.bn", "stem_conv.norm!"),
            (r"level1\.act", "stem_conv.norm@slope"),
            (r"b(\d)\.bn", r"level\1_norm!"),
            (r"b(\d)\.act", r"level\1_norm@slope"),
            *_of_block(r"level(\d)_0", r"level\1_down", ""),
            *_of_block(r"level(\d)\.(\d+)", r"level\1_block\2", r"bn\."),
        )
    }

    widths: tuple[int, ...] = (16, 64, 128)
    depths: tuple[int, ...] = (2, 8)
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return tuple(2 ** (i + 1) for i in range(len(self.widths)))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first, or the first ``count`` of them."""
        levels = len(self.widths) - 1
        require(len(self.depths) == levels, "ESPNetC.depths", self.depths, f"{levels}: by widths")
        image = standardized(image, self.standardize)
        stem = ConvNorm(
            self.widths[0],
            stride=2,
            norm=self.norm,
            activation="prelu",
            epsilon=EPSILON,
            name="stem_conv",
        )
        parts, features, last = [stem(image, train=train)], [], len(self.widths)
        for level in range(1, last + 1):
            image = average_pool(image, 3, stride=2, padding=1)
            parts = [*parts, image] if level < last else parts[::-1]
            norm = Norm(self.norm, activation="prelu", epsilon=EPSILON, name=f"level{level}_norm")
            x = norm(jnp.concatenate(parts, axis=-1), train=train)
            features.append(x)
            if level == last or len(features) == count:
                break
            parts = self._level(x, level + 1, train)
        return tuple(features)

    def _level(self, x: Array, level: int, train: bool) -> list[Float[Array, "b *s k"]]:
        """What the pyramids of a level make, and what the first of them does."""
        width, depth = self.widths[level - 1], self.depths[level - 2]
        down = ESP(width, stride=2, shortcut="none", norm=self.norm, name=f"level{level}_down")
        x = first = down(x, train=train)
        for i in range(depth):
            x = ESP(width, norm=self.norm, name=f"level{level}_block{i}")(x, train=train)
        return [x, first]


class ESP(nn.Module):
    """Efficient spatial pyramid: reduce to a fifth, convolve at five dilations, merge.

    Each dilated map but the first is added to the next one before all are joined (the paper's
    hierarchical feature fusion, which takes the grid out of them). The first has what the fifths
    leave over. Fewer than five features have a dilation each. ``stride`` 2 reduces by 3x3 where
    else 1x1 does.
    """

    features: int
    stride: int = 1
    shortcut: Literal["identity", "none"] = "identity"
    norm: Kind = "batch"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """Norm and PReLU of the merged map."""
        rates = RATES[: self.features]
        narrow = self.features // len(rates)
        kernel_size = 1 if self.stride == 1 else 3
        y = Conv(narrow, kernel_size, self.stride, use_bias=False, name="reduce")(x)
        widths = [self.features - narrow * (len(rates) - 1)] + [narrow] * (len(rates) - 1)
        first, *maps = (
            Conv(width, dilation=rate, use_bias=False, name=f"dilated{rate}")(y)
            for width, rate in zip(widths, rates, strict=True)
        )
        for i in range(1, len(maps)):
            maps[i] = maps[i - 1] + maps[i]
        y = jnp.concatenate([first, *maps], axis=-1)
        y = x + y if self.shortcut == "identity" else y
        norm = Norm(self.norm, activation="prelu", epsilon=EPSILON, name="norm")
        return norm(y, train=train)
