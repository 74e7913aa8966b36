"""Dense upsampling convolution (DUC): the classes of a block of pixels, predicted by one pixel.

Wang et al. 2018, "Understanding Convolution for Semantic Segmentation",
https://arxiv.org/abs/1702.08502, section 3.1.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.layers.conv import Conv
from jaxseg.ops import pixel_shuffle


class DenseUpsampling(nn.Module):
    """A convolution to ``factor ** rank`` times the features, and their rearrangement in space.

    The order of the channels is that of ``pixel_shuffle``. The released ResNet-101 has in place
    of one convolution the sum of four dilated ones: ``SummedASPP``, then ``pixel_shuffle``.
    """

    features: int
    factor: int = 8
    kernel_size: int = 3

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t {self.features}"]:
        """A map with each axis ``factor`` times as long."""
        conv = Conv(
            self.features * self.factor ** (x.ndim - 2), kernel_size=self.kernel_size, name="conv"
        )
        return pixel_shuffle(conv(x), self.factor)
