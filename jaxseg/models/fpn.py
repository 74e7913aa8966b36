"""Panoptic Feature Pyramid Networks: the branch for semantic segmentation, "Semantic FPN".

Kirillov, Girshick, He, Dollar 2019, https://arxiv.org/abs/1901.02446, section 3.1 and figure 3;
the pyramid: Lin et al. 2017, https://arxiv.org/abs/1612.03144

Differs from the paper: none known; it leaves open how corners are aligned, and detectron2, by the
same group, does not align them.

segmentation_models_pytorch's FPN is ``FPN(k, smooth="none", align_corners=True, dropout=0.2)``.
"""

import functools
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.layers import ChannelDropout, Conv, ConvNorm, Head, Kind
from jaxseg.layers.feature_pyramid import top_down
from jaxseg.ops import crop, pad_to_multiple, resize
from jaxseg.types import Names, Paper, Prediction


class FPN(nn.Module):
    """Encoder, a top-down pyramid of its four coarsest features, the sum of all levels, a head.

    P2 is the finest level. ``smooth`` is the 3x3 convolution that ends each level of the pyramid
    (``width`` channels); ``upsample`` is how the way down enlarges. From there a level doubles its
    size, each time after a 3x3 convolution with norm and ReLU (``branch_width`` channels), until it
    has that of P2, whose one convolution doubles nothing. ``merge`` is how the levels meet, as a
    concatenation from the coarsest on. ``dropout`` drops channels of that and needs the rng
    ``dropout``. Sizes are padded with zeros at the end of each axis to a multiple of ``stride``,
    and cropped. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Panoptic Feature Pyramid Networks", "Kirillov", 2019, "https://arxiv.org/abs/1901.02446"
    )

    names: ClassVar[Names] = {
        "segmentation_models_pytorch": (
            (r"decoder\.p5", "p5_lateral!"),
            (r"decoder\.p(\d)\.skip_conv", r"p\1_lateral!"),
            (r"decoder\.seg_blocks\.0\.block\.0\.block\.(?:0|1)", "p5_conv1"),
            (r"decoder\.seg_blocks\.0\.block\.1\.block\.(?:0|1)", "p5_conv2"),
            (r"decoder\.seg_blocks\.0\.block\.2\.block\.(?:0|1)", "p5_conv3"),
            (r"decoder\.seg_blocks\.1\.block\.0\.block\.(?:0|1)", "p4_conv1"),
            (r"decoder\.seg_blocks\.1\.block\.1\.block\.(?:0|1)", "p4_conv2"),
            (r"decoder\.seg_blocks\.2\.block\.0\.block\.(?:0|1)", "p3_conv1"),
            (r"decoder\.seg_blocks\.3\.block\.0\.block\.(?:0|1)", "p2_conv1"),
            (r"segmentation_head\.0", "head!"),
        )
    }

    num_classes: int
    encoder: nn.Module = ResNet(50)
    width: int = 256
    branch_width: int = 128
    smooth: Literal["conv", "none"] = "conv"
    merge: Literal["sum", "concatenation"] = "sum"
    upsample: Literal["nearest", "bilinear"] = "nearest"
    align_corners: bool = False
    dropout: float = 0.0
    norm: Kind = "group"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size = image.shape[1:-1]
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        padded, strides = x.shape[1:-1], self.encoder.strides[-4:]
        method = "nearest" if self.upsample == "nearest" else "linear"
        pyramid = top_down(self.encoder(x, train=train)[-4:], strides, self.width, method)
        maps = []
        for level, (y, stride) in enumerate(zip(pyramid, strides, strict=True), start=2):
            y = self._smoothed(y, f"p{level}")
            y = self._branch(y, f"p{level}", stride // strides[0], train)
            maps.append(y)
        if self.merge == "sum":
            total = functools.reduce(jnp.add, maps)
        else:
            total = jnp.concatenate(maps[::-1], axis=-1)  # coarsest first, as their code has it
        total = ChannelDropout(self.dropout, name="dropout")(total, train=train)
        logits = Head(self.num_classes, name="head")(total)
        return Prediction(crop(self._resized(logits, padded), size))

    def _smoothed(self, x: Array, place: str) -> Float[Array, "b ..."]:
        return Conv(self.width, name=f"{place}_smooth")(x) if self.smooth == "conv" else x

    def _branch(self, x: Array, place: str, factor: int, train: bool) -> Float[Array, "b ..."]:
        """``x`` at ``factor`` times its size, a power of two."""
        doublings = factor.bit_length() - 1
        for i in range(max(doublings, 1)):
            conv = ConvNorm(self.branch_width, norm=self.norm, name=f"{place}_conv{i + 1}")
            x = conv(x, train=train)
            if doublings:
                x = self._resized(x, tuple(2 * n for n in x.shape[1:-1]))
        return x

    def _resized(self, x: Array, size: tuple) -> Float[Array, "b ..."]:
        return resize(x, size, "linear", align_corners=self.align_corners)
