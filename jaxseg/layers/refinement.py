"""The parts of RefineNet: residual convolution unit, multi-resolution fusion, chained pooling.

RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation, Lin et al.
2017, https://arxiv.org/abs/1611.06612, figure 3. No norm anywhere.
"""

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv import Conv
from jaxseg.ops import max_pool, resize


class ResidualConvUnit(nn.Module):
    """The unit RCU: ``x + conv(relu(conv(relu(x))))``, the first with a bias (figure 3b)."""

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """Size and width stay."""
        y = nn.relu(x)
        y = Conv(x.shape[-1], name="conv1")(y)
        y = nn.relu(y)
        y = Conv(x.shape[-1], use_bias=False, name="conv2")(y)
        return x + y


class MultiResolutionFusion(nn.Module):
    """The sum MRF: each map convolved by 3x3 and enlarged to the finest (figure 3c).

    Enlarged bilinearly with corners aligned, as in the code. A single map is convolved too; the
    network does without there.
    """

    features: int

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "b ..."]]) -> Float[Array, "b ..."]:
        """The maps come finest first; the sum has the size of the first."""
        if not maps:
            raise UserError(f"MultiResolutionFusion {self.name}: no map given; give one or more")
        total, size = None, maps[0].shape[1:-1]
        for i, x in enumerate(maps):
            conv = Conv(self.features, use_bias=False, name=f"conv{i}")
            y = resize(conv(x), size, "linear", align_corners=True)
            total = y if total is None else total + y
        assert total is not None
        return total


class ChainedResidualPooling(nn.Module):
    """The chain CRP: ReLU, then pooling and convolution, each link added to the sum (figure 3d).

    ``pool_conv`` is the paper's order, of the released VOC weights; ``conv_pool`` that of the
    authors' improved code. The paper draws 2 links, the released networks have 4.
    """

    links: int = 4
    window: int = 5
    order: Literal["pool_conv", "conv_pool"] = "pool_conv"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """Size and width stay. Raises UserError where ``window`` is even."""
        if self.window % 2 == 0:
            raise UserError(
                f"ChainedResidualPooling {self.name}: window={self.window} would change the size; "
                f"use an odd one, such as {self.window + 1}"
            )
        total = link = nn.relu(x)
        for i in range(self.links):
            conv = Conv(x.shape[-1], use_bias=False, name=f"conv{i}")
            if self.order == "pool_conv":
                link = conv(self._pool(link))
            else:
                link = self._pool(conv(link))
            total = total + link
        return total

    def _pool(self, x: Array) -> Array:
        return max_pool(x, self.window, stride=1, padding=self.window // 2)
