"""Dense atrous convolution (DAC), the context extractor of CE-Net.

Gu et al. 2019, "CE-Net: Context Encoder Network for 2D Medical Image Segmentation",
https://arxiv.org/abs/1903.02740, section II-B and figure 3.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.layers.conv import Conv

BRANCHES = ((1,), (3,), (1, 3), (1, 3, 5))
"""The rates of each branch's chain of 3x3 convolutions; the figure's fields of 3, 7, 9, 19."""


class DenseAtrous(nn.Module):
    """``x + sum of relu(branch(x))``; 3x3 chains of ``BRANCHES``, all but the first closed by 1x1.

    No norm, and no activation inside a branch. ``weights``: the figure draws each convolution as
    its own (``separate``); the authors' code has one convolution per rate and one 1x1, which all
    branches share (``shared``), and 29,003,093 parameters in all of CE-Net count on that.
    """

    weights: Literal["shared", "separate"] = "shared"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """Size and channels stay."""
        total, convs, maps = x, {}, {}
        for number, rates in enumerate(BRANCHES, start=1):
            prefix = "" if self.weights == "shared" else f"branch{number}_"
            y, path = x, prefix
            for rate in rates:
                path += f"dilated{rate} "
                if path not in maps:  # shared chains begin alike: each convolution runs once
                    conv = self._conv(convs, f"{prefix}dilated{rate}", x.shape[-1], rate)
                    maps[path] = conv(y)
                y = maps[path]
            if rates != BRANCHES[0]:
                y = self._conv(convs, f"{prefix}pointwise", x.shape[-1], 0)(y)
            total = total + nn.relu(y)
        return total

    def _conv(self, convs: dict[str, Conv], name: str, channels: int, rate: int) -> Conv:
        """The convolution of that name, made where it is first asked for; rate 0 is the 1x1."""
        if name not in convs:
            convs[name] = Conv(
                channels, kernel_size=3 if rate else 1, dilation=rate or 1, name=name
            )
        return convs[name]
