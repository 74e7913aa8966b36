"""Deep Residual Learning for Image Recognition.

He, Zhang, Ren, Sun 2016, https://arxiv.org/abs/1512.03385

Differs from the paper, as torchvision's "v1.5" does: a bottleneck strides in its 3x3, not in its
first 1x1. Without the classifier.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.layers import ConvNorm, Kind, max_pool

BLOCKS = {
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

    depth: Literal[18, 34, 50, 101, 152] = 50
    width: int = 64
    output_stride: Literal[8, 16, 32] = 32
    norm: Kind = "batch"
    param_dtype: str = "float32"

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return tuple(min(stride, self.output_stride) for stride in (2, 4, 8, 16, 32))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool
    ) -> tuple[Float[Array, "b ..."], ...]:
        """Five features, finest first."""
        x = self._conv(self.width, 7, "stem_conv", stride=2)(image, train=train)
        features = [x]
        x = max_pool(x, 3, stride=2, padding=1)
        for stage, blocks in enumerate(BLOCKS[self.depth], start=1):
            stride = self.strides[stage] // self.strides[stage - 1] if stage > 1 else 1
            dilation = 2 ** (stage + 1) // self.strides[stage]
            for block in range(blocks):
                x = self._block(
                    x,
                    f"layer{stage}_block{block}",
                    width=self.width * 2 ** (stage - 1),
                    stride=1 if block else stride,
                    dilation=dilation,
                    train=train,
                )
            features.append(x)
        return tuple(features)

    def _conv(self, features: int, kernel_size: int, name: str, **fields) -> ConvNorm:
        return ConvNorm(
            features,
            kernel_size=kernel_size,
            norm=self.norm,
            param_dtype=self.param_dtype,
            name=name,
            **fields,
        )

    def _block(self, x, place: str, *, width: int, stride: int, dilation: int, train: bool):
        """Figure 5: two 3x3 (left) or 1x1, 3x3, 1x1 (right) beside the identity."""
        spread = {"stride": stride, "dilation": dilation}
        if self.depth < 50:
            out = width
            convs = [(width, 3, spread), (out, 3, {"dilation": dilation, "activation": "none"})]
        else:
            out = 4 * width
            convs = [(width, 1, {}), (width, 3, spread), (out, 1, {"activation": "none"})]
        y = x
        for i, (features, kernel_size, fields) in enumerate(convs, start=1):
            y = self._conv(features, kernel_size, f"{place}_conv{i}", **fields)(y, train=train)
        if stride > 1 or x.shape[-1] != out:
            shortcut = self._conv(out, 1, f"{place}_shortcut", stride=stride, activation="none")
            x = shortcut(x, train=train)
        return nn.relu(x + y)
