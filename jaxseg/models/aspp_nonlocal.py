"""Geometric and context encoding (GCE), the head of Parsing R-CNN: ASPP, then a non-local block.

Yang, Song, Wang, Jiang 2019, Parsing R-CNN for Instance-Level Human Analysis,
https://arxiv.org/abs/1811.12596, figure 4

Differs from the paper: there, the head sees the boxes of persons, cut from the finest level of a
feature pyramid; here, that level as a whole, so that it segments images. As in the authors' code
its convolutions have a bias and no norm, and the non-local block a group norm.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.layers import ASPP, Conv, ConvNorm, Head, NonLocal, TransposedConv
from jaxseg.layers.feature_pyramid import top_down
from jaxseg.ops import crop, pad_to_multiple, resize
from jaxseg.types import Paper, Prediction

Context = Literal["aspp_nonlocal", "aspp"]


class ASPPNonLocal(nn.Module):
    """Encoder, the finest level of a pyramid of its four coarsest features, GCE, logits.

    The pyramid is ``pyramid_width`` wide. The other fields are those of `GCEHead`. Logits come of a
    transposed 4x4 convolution by 2, and are resized to the image. Sizes are padded with zeros at
    the end of each axis to a multiple of the encoder's stride, and cropped. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Parsing R-CNN for Instance-Level Human Analysis",
        "Yang",
        2019,
        "https://arxiv.org/abs/1811.12596",
    )

    num_classes: int
    encoder: nn.Module = ResNet(50)
    pyramid_width: int = 256
    width: int = 512
    aspp_width: int = 256
    rates: tuple[int, ...] = (6, 12, 18)
    convs: int = 4
    context: Context = "aspp_nonlocal"
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: each pixel attends to all of the image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, strides = image.shape[1:-1], self.encoder.strides[-4:]
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.encoder.strides[-1])
        padded, features = x.shape[1:-1], self.encoder(x, train=train)[-4:]
        x, *_ = top_down(features, strides, self.pyramid_width)
        x = Conv(self.pyramid_width, name="p2_smooth")(x)
        head = GCEHead(
            self.width, self.aspp_width, self.rates, self.convs, self.context, name="gce"
        )
        x = head(x, train=train).astype(jnp.float32)
        if strides[0] > 1:
            x = TransposedConv(self.num_classes, kernel_size=4, padding=1, name="head")(x)
        else:
            x = Head(self.num_classes, name="head")(x)
        return Prediction(crop(resize(x, padded, "linear"), size))


class GCEHead(nn.Module):
    """ASPP of ``rates``, non-local block, ``convs`` 3x3 convolutions; ``width`` channels.

    The branches of the ASPP are ``aspp_width`` wide. The non-local block sees keys and values
    halved in size, by a maximum; ``context="aspp"`` leaves it out (table 4). Every convolution has
    a bias and a ReLU, no norm.
    """

    width: int = 512
    aspp_width: int = 256
    rates: tuple[int, ...] = (6, 12, 18)
    convs: int = 4
    context: Context = "aspp_nonlocal"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.width}"]:
        """The size stays. Raises UserError where an axis has but one pixel, with the block."""
        aspp = ASPP(
            self.aspp_width,
            self.rates,
            order="tensorflow",
            projection=self.width,
            dropout=0.0,
            norm="none",
            name="aspp",
        )
        x = aspp(x, train=train)
        if self.context == "aspp_nonlocal":
            block = NonLocal(self.width, scaled=True, pool=2, norm="group", name="non_local")
            x = block(x, train=train)
        for i in range(1, self.convs + 1):
            x = ConvNorm(self.width, norm="none", name=f"conv{i}")(x, train=train)
        return x
