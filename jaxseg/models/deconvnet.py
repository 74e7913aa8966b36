"""Learning Deconvolution Network for Semantic Segmentation.

Noh, Hong, Han 2015, https://arxiv.org/abs/1505.04366

Layers have the names of the released Caffe network. Differs from the paper's use: it sees proposals
of objects, scaled to 224 x 224, and takes the maximum over their scores; here it sees the image,
since all of it is convolutional.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Standardize
from jaxseg.encoders.standardize import standardized
from jaxseg.encoders.vgg import CONVS
from jaxseg.layers import Conv, Head, Norm, TransposedConv
from jaxseg.models.segnet import SegNet
from jaxseg.ops import crop, max_pool_with_indices, max_unpool, pad_to_least
from jaxseg.types import Names, Paper, Prediction

LEAST = 224
"""What the 7x7 convolution fc6 takes as one pixel; smaller images are padded to it."""


class DeconvNet(nn.Module):
    """VGG16 with norms up to fc7, and its mirror of transposed convolutions and unpooling.

    ``width`` is that of the first level, which doubles up to the fourth; ``hidden`` that of fc6 and
    fc7. Any size fits; an axis of less than 224 pixels is padded with zeros at its end.
    """

    paper: ClassVar[Paper] = Paper(
        "Learning Deconvolution Network for Semantic Segmentation",
        "Noh",
        2015,
        "https://arxiv.org/abs/1505.04366",
    )

    names: ClassVar[Names] = {"torchvision": SegNet.names["torchvision"]}

    num_classes: int
    width: int = 64
    hidden: int = 4096
    standardize: Standardize | None = None
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: fc6 takes three pixels off either end of its map."""

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b h w c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), LEAST)
        x, pooled = standardized(x, self.standardize), []
        for level, convs in enumerate(CONVS[16], start=1):
            for i in range(1, convs + 1):
                x = Block(self._width(level), name=f"conv{level}_{i}")(x, train=train)
            size = x.shape[1:-1]
            x, index = max_pool_with_indices(x, ceil_mode=True)
            pooled.append((index, size))
        x = Block(self.hidden, kernel_size=7, padding=0, name="fc6")(x, train=train)
        x = Block(self.hidden, kernel_size=1, padding=0, name="fc7")(x, train=train)
        x = Block(self._width(5), kind="transposed", kernel_size=7, padding=0, name="fc6_deconv")(
            x, train=train
        )
        for level in (5, 4, 3, 2, 1):
            x = max_unpool(x, *pooled[level - 1])
            convs = CONVS[16][level - 1]
            for i in range(1, convs + 1):
                width = self._width(max(level - (i == convs), 1))
                deconv = Block(width, kind="transposed", name=f"deconv{level}_{i}")
                x = deconv(x, train=train)
        logits = Head(self.num_classes, name="head")(x)
        return Prediction(crop(logits, image.shape[1:-1]))

    def _width(self, level: int) -> int:
        return self.width * min(2 ** (level - 1), 8)


class Block(nn.Module):
    """A convolution with a bias, or its transpose, then batch norm and ReLU."""

    features: int
    kind: Literal["plain", "transposed"] = "plain"
    kernel_size: int = 3
    padding: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b t u k"]:
        """The map, smaller or larger where ``padding`` is not half of the kernel."""
        layer = Conv if self.kind == "plain" else TransposedConv
        conv = layer(
            self.features,
            stride=1,
            kernel_size=self.kernel_size,
            padding=self.padding,
            name="conv",
        )
        x = conv(x)
        return Norm(activation="relu", name="norm")(x, train=train)
