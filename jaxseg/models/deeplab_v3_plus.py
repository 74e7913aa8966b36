"""Encoder-Decoder with Atrous Separable Convolution for Image Segmentation: DeepLab v3+.

Chen, Zhu, Papandreou, Schroff, Adam 2018, https://arxiv.org/abs/1802.02611, figure 2;
the other context: the dense prediction cell, https://arxiv.org/abs/1809.04184

Differs from the authors' code: running statistics of norms keep 0.9 of the old, not 0.9997.

segmentation_models_pytorch's is ``DeepLabV3Plus(k, encoder=ResNet(50, output_stride=16),
form="community", rates=(12, 24, 36), context_convs=1, decoder_convs=1, order="torch",
dropout=0.5)``.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import AlignedXception
from jaxseg.errors import UserError
from jaxseg.layers import ASPP, ConvNorm, Head, Kind
from jaxseg.layers.aspp import Form, Order, formed, rates_at
from jaxseg.layers.dense_prediction_cell import DensePredictionCell
from jaxseg.models.deeplab_v3 import aspp_names
from jaxseg.ops import resize
from jaxseg.types import Names, Paper, Prediction


class DeepLabV3Plus(nn.Module):
    """Context on the coarsest map, enlarged and joined with a narrow map at a quarter of the size.

    ``encoder`` has the output stride of the context, 16 or 8, and its feature of stride 4 is the
    low-level one, which a 1x1 convolution makes ``low_level_width`` channels wide. ``rates`` of
    the ASPP are those at output stride 16 (``rates_stride``), and are doubled at 8: the same
    variables serve both. ``context="dpc"`` has the dense prediction cell in its place, for images
    alone. ``form`` is that of each 3x3 convolution, see ``ASPP``; ``decoder_form``, where it is
    named, of those outside of the ASPP; ``context_convs`` of them follow the context and
    ``decoder_convs`` the concatenation. ``align_corners`` says how maps are enlarged. ``dropout``
    needs the rng ``dropout``. Sizes need no padding: maps are resized to each other.
    """

    paper: ClassVar[Paper] = Paper(
        "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
        "Chen",
        2018,
        "https://arxiv.org/abs/1802.02611",
    )

    num_classes: int
    encoder: nn.Module = AlignedXception(output_stride=16)
    context: Literal["aspp", "dpc"] = "aspp"
    rates: tuple[int, ...] = (6, 12, 18)
    rates_stride: int = 16
    form: Form = "deeplab"
    decoder_form: Form | None = None
    width: int = 256
    low_level_width: int = 48
    context_convs: int = 0
    decoder_convs: int = 2
    order: Order = "tensorflow"
    align_corners: bool = True
    dropout: float = 0.1
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """Places of segmentation_models_pytorch."""
        rows = (
            *aspp_names(r"decoder\.aspp\.0", self.form),
            (r"decoder\.aspp\.1\.0", "context_conv1.depthwise!"),
            (r"decoder\.aspp\.1\.1", "context_conv1.pointwise!"),
            (r"decoder\.aspp\.2", "context_conv1.pointwise_norm!"),
            (r"decoder\.block1\.(?:0|1)", "low_level"),
            (r"decoder\.block2\.0\.0", "decoder_conv1.depthwise!"),
            (r"decoder\.block2\.0\.1", "decoder_conv1.pointwise!"),
            (r"decoder\.block2\.1", "decoder_conv1.pointwise_norm!"),
            (r"segmentation_head\.0", "head!"),
        )
        return {"segmentation_models_pytorch": rows}

    @property
    def stride(self) -> int:
        """The output stride of the encoder; other sizes are taken as they are."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        features = self.encoder(jnp.asarray(image, self.dtype), train=train)
        low, x = features[self._low_level()], self._context(features[-1], train)
        x = self._convs(x, "context_conv", self.context_convs, train)
        narrow = ConvNorm(self.low_level_width, kernel_size=1, norm=self.norm, name="low_level")
        x = jnp.concatenate([self._resized(x, low.shape), narrow(low, train=train)], axis=-1)
        x = self._convs(x, "decoder_conv", self.decoder_convs, train)
        logits = Head(self.num_classes, name="head")(x)
        return Prediction(self._resized(logits, image.shape))

    def _context(self, x: Array, train: bool) -> Float[Array, "b ..."]:
        if self.context == "dpc":
            (multiplier,) = rates_at((1,), self.stride)
            cell = DensePredictionCell(
                self.width, multiplier, self.dropout, norm=self.norm, name="dpc"
            )
            return cell(x, train=train)
        aspp = ASPP(
            self.width,
            rates_at(self.rates, self.stride, self.rates_stride),
            self.form,
            order=self.order,
            dropout=self.dropout,
            norm=self.norm,
            name="aspp",
        )
        return aspp(x, train=train)

    def _convs(self, x: Array, name: str, count: int, train: bool) -> Float[Array, "b ..."]:
        for i in range(count):
            form = self.decoder_form or self.form
            x = formed(form, self.width, norm=self.norm, name=f"{name}{i + 1}")(x, train=train)
        return x

    def _resized(self, x: Array, shape: tuple) -> Float[Array, "b ..."]:
        """``x`` with the size of a map of this shape."""
        return resize(x, shape[1:-1], "linear", align_corners=self.align_corners)

    def _low_level(self) -> int:
        strides = tuple(self.encoder.strides)
        if 4 not in strides[:-1]:
            raise UserError(
                f"encoder: its features have strides {strides}; one of 4 that is not the last is "
                "needed, such as ResNet(50, output_stride=16) has"
            )
        return strides.index(4)
