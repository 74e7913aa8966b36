"""Rethinking Atrous Convolution for Semantic Image Segmentation: DeepLab v3.

Chen, Papandreou, Schroff, Adam 2017, https://arxiv.org/abs/1706.05587, figures 3 and 5

Differs from the authors' code: running statistics of norms keep 0.9 of the old, not 0.9997.

torchvision's is ``DeepLabV3(k, encoder=ResNet(50, output_stride=8, dilated="after_first"),
context_convs=1, order="torch", align_corners=False, dropout=0.5)``, whose published weights have
the auxiliary head; segmentation_models_pytorch's is the same on ``ResNet(50, output_stride=8)`` and
with ``align_corners=True``; at output stride 16 its rates are (12, 24, 36).
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError, require
from jaxseg.layers import ASPP, ConvNorm, Head, Kind, ResidualBlock
from jaxseg.layers.aspp import Form, Order, rates_at
from jaxseg.ops import resize
from jaxseg.types import Names, Paper, Prediction


def aspp_names(place: str, form: Form) -> tuple[tuple[str, str], ...]:
    """PyTorch's names of an ASPP, which stands at the pattern ``place`` there."""
    dilated = [(r"convs\.([123])\.(?:0|1)", r"aspp.dilated\1")]
    if form != "standard":
        dilated = [
            (r"convs\.([123])\.0\.0", r"aspp.dilated\1.depthwise!"),
            (r"convs\.([123])\.0\.1", r"aspp.dilated\1.pointwise!"),
            (r"convs\.([123])\.1", r"aspp.dilated\1.pointwise_norm!"),
        ]
    rows = (
        (r"convs\.0\.(?:0|1)", "aspp.pointwise"),
        *dilated,
        (r"convs\.4\.(?:1|2)", "aspp.image"),
        (r"project\.(?:0|1)", "aspp.projection"),
    )
    return tuple((rf"{place}\.{pattern}", name) for pattern, name in rows)


class DeepLabV3(nn.Module):
    """Context on the coarsest map of a dilated encoder, a 1x1 head, linear upsampling.

    ``context`` is ``aspp`` (figure 5), whose ``rates`` are those at output stride 16, or
    ``cascade`` (figure 3b): ``cascade`` further stages of three bottlenecks, each with twice the
    dilation of the one before, times ``multi_grid`` block by block, with no ASPP. That of the
    encoder's own last stage is the encoder's ``multi_grid``.

    The encoder's output stride may be 16 or 8: rates and dilations double, and the same variables
    serve both, as the paper trains at 16 and evaluates at 8: a loaded model's other form is
    ``model.clone(encoder=model.encoder.clone(output_stride=8))``.

    ``rates_stride`` is the output stride at which ``rates`` are given, if not 16. ``form`` is that
    of the ASPP's 3x3 convolutions; ``context_convs`` further ones follow it. ``auxiliary="head"``
    is a head of `FCN` on the feature before the last, at that feature's size, or on another
    ``auxiliary_feature`` counted from the end, as torchvision's MobileNet has it. ``align_corners``
    says how logits are enlarged. ``dropout`` is that after the ASPP's projection; it needs the rng
    ``dropout``.
    """

    paper: ClassVar[Paper] = Paper(
        "Rethinking Atrous Convolution for Semantic Image Segmentation",
        "Chen",
        2017,
        "https://arxiv.org/abs/1706.05587",
    )

    num_classes: int
    encoder: nn.Module = ResNet(50, stem="deep", output_stride=16, multi_grid=(1, 2, 4))
    context: Literal["aspp", "cascade"] = "aspp"
    rates: tuple[int, ...] = (6, 12, 18)
    width: int = 256
    context_convs: int = 0
    cascade: int = 3
    multi_grid: tuple[int, ...] = (1, 2, 1)
    auxiliary: Literal["head", "none"] = "none"
    auxiliary_feature: int = -2
    order: Order = "tensorflow"
    form: Form = "standard"
    rates_stride: int = 16
    align_corners: bool = True
    dropout: float = 0.1
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """Places of the library that enlarges logits as ``align_corners`` says."""
        if self.align_corners:
            rows = (
                *aspp_names(r"decoder\.aspp", self.form),
                (r"decoder\.(?:conv|bn)", "context_conv1"),
                (r"segmentation_head\.0", "head!"),
            )
            return {"segmentation_models_pytorch": rows}
        rows = (
            *aspp_names(r"classifier\.0", self.form),
            (r"classifier\.(?:1|2)", "context_conv1"),
            (r"classifier\.4", "head!"),
            (r"aux_classifier\.(?:0|1)", "auxiliary_conv"),
            (r"aux_classifier\.4", "auxiliary_head!"),
        )
        return {"torchvision": rows}

    @property
    def stride(self) -> int:
        """The output stride of the encoder; other sizes are taken as they are."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        *finer, x = self.encoder(jnp.asarray(image, self.dtype), train=train)
        x = self._cascaded(x, train) if self.context == "cascade" else self._pooled(x, train)
        logits = Head(self.num_classes, name="head")(x)
        logits = resize(logits, image.shape[1:-1], "linear", align_corners=self.align_corners)
        if self.auxiliary == "none":
            return Prediction(logits)
        place, finest = self.auxiliary_feature, -1 - len(finer)
        require(finest <= place <= -2, "auxiliary_feature", place, f"{finest} to -2")
        before = finer[place + 1]
        conv = ConvNorm(before.shape[-1] // 4, norm=self.norm, name="auxiliary_conv")
        drop = nn.Dropout(0.1, deterministic=not train, name="auxiliary_dropout")
        head = Head(self.num_classes, name="auxiliary_head")
        return Prediction(logits, (head(drop(conv(before, train=train))),))

    def _pooled(self, x: Array, train: bool) -> Float[Array, "b ..."]:
        aspp = ASPP(
            self.width,
            rates_at(self.rates, self.stride, self.rates_stride),
            self.form,
            order=self.order,
            dropout=self.dropout,
            norm=self.norm,
            name="aspp",
        )
        x = aspp(x, train=train)
        for i in range(self.context_convs):
            x = ConvNorm(self.width, norm=self.norm, name=f"context_conv{i + 1}")(x, train=train)
        return x

    def _cascaded(self, x: Array, train: bool) -> Float[Array, "b ..."]:
        """The blocks 5, 6, 7, ... that continue the encoder's four."""
        require(self.cascade >= 1, "DeepLabV3.cascade", self.cascade, "at least 1")
        if 32 % self.stride:
            raise UserError(f"encoder: has stride {self.stride}; a cascade dilates 8, 16 or 32")
        for stage in range(5, 5 + self.cascade):
            dilation = 2 ** (stage - 4) * 32 // self.stride
            for i, factor in enumerate(self.multi_grid):
                block = ResidualBlock(
                    x.shape[-1],
                    kind="bottleneck",
                    dilation=dilation * factor,
                    norm=self.norm,
                    name=f"layer{stage}_block{i}",
                )
                x = block(x, train=train)
        return x
