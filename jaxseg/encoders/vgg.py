"""Very Deep Convolutional Networks for Large-Scale Image Recognition.

Simonyan, Zisserman 2015, https://arxiv.org/abs/1409.1556

The paper's has no norms; ``norm="batch"`` is torchvision's ``vgg16_bn``, whose convolutions keep
their biases. Without the classifier.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, Kind
from jaxseg.ops import max_pool
from jaxseg.types import Names

CONVS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """Five levels of 3x3 convolutions (table 1), each followed by max pooling.

    Features: the last convolution of each level, at strides 1 to 16, and the last pooling; with
    ``finest=2`` without that of stride 1, which decoders of segmentation_models_pytorch drop.
    ``width`` is that of level 0 (64 in the paper); it doubles up to level 3.

    ``output_stride`` 16 or 8 gives the last poolings stride 1 (3x3, padded) and dilates the
    convolutions after them, as DeepLab does; its other poolings are 3x3 too (``pool_size``).
    ``pool="ceil"`` rounds sizes after pooling up, as Caffe does (FCN, DeepLab).
    """

    depth: Literal[11, 13, 16, 19] = 16
    width: int = 64
    finest: Literal[1, 2] = 1
    output_stride: Literal[8, 16, 32] = 32
    pool: Literal["floor", "ceil"] = "floor"
    pool_size: Literal[2, 3] = 2
    norm: Kind = "none"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return self._strides[self.finest - 1 :]

    @property
    def _strides(self) -> tuple[int, ...]:
        return tuple(min(2**level, self.output_stride) for level in range(6))

    @property
    def names(self) -> Names:
        """Torchvision's and timm's places; a convolution's number counts the layers before it."""
        pairs, place, step = [], 0, 2 if self.norm == "none" else 3
        for level, convs in enumerate(CONVS[self.depth]):
            for i in range(1, convs + 1):
                pairs += [
                    (rf"features\.{place}", f"level{level}_conv{i}.conv!"),
                    (rf"features\.{place + 1}", f"level{level}_conv{i}.norm!"),
                ]
                place += step
            place += 1  # the pooling
        return dict.fromkeys(("torchvision", "timm"), tuple(pairs))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first, or the first ``count`` of them.

        Raises UserError where the image is too small to pool.
        """
        x, features = standardized(image, self.standardize), []
        count = len(self.strides) if count is None else count
        for level, convs in enumerate(CONVS[self.depth][: self.finest - 1 + count]):
            for i in range(1, convs + 1):
                conv = ConvNorm(
                    self.width * min(2**level, 8),
                    dilation=2**level // self._strides[level],
                    norm=self.norm,
                    use_bias=True,
                    name=f"level{level}_conv{i}",
                )
                x = conv(x, train=train)
            features.append(x)
            x = self._pool(x, self._strides[level + 1] // self._strides[level])
        return (*features[self.finest - 1 :], x)[:count]

    def _pool(self, x: Array, stride: int) -> Float[Array, "b ..."]:
        size = 3 if stride == 1 else self.pool_size
        return max_pool(x, size, stride=stride, padding=size // 3, ceil_mode=self.pool == "ceil")
