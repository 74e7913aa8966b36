"""Fully Convolutional Networks, on a dilated encoder: torchvision's form.

Long, Shelhamer, Darrell 2015, https://arxiv.org/abs/1411.4038 (``fcn8s`` and its relatives are the
paper's networks)

Differs from the paper: a ResNet at stride 8 by dilation, no skips, one hidden 3x3 convolution with
batch norm, linear upsampling. ``FCN(k, encoder=ResNet(50, output_stride=8,
dilated="after_first"))`` is torchvision's ``fcn_resnet50``; its published weights have the
auxiliary head.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.layers import ConvNorm, Head, Kind
from jaxseg.ops import crop, pad_to_least, resize
from jaxseg.types import Names, Paper, Prediction


class FCN(nn.Module):
    """3x3 convolution of a quarter of the encoder's channels, dropout, 1x1 convolution.

    ``auxiliary="head"`` is such a head on the feature before the last, whose logits stay at that
    feature's size (torchvision's are resized to the image's); its loss is weighed by 0.5 there.
    Images of any size; smaller ones than the encoder's stride are padded with zeros. Training needs
    the rng ``dropout``.
    """

    paper: ClassVar[Paper] = Paper(
        "Fully Convolutional Networks for Semantic Segmentation",
        "Long",
        2015,
        "https://arxiv.org/abs/1411.4038",
    )

    names: ClassVar[Names] = {
        "torchvision": (
            (r"classifier\.(?:0|1)", "head_conv"),
            (r"classifier\.4", "head!"),
            (r"aux_classifier\.(?:0|1)", "auxiliary_conv"),
            (r"aux_classifier\.4", "auxiliary_head!"),
        )
    }

    num_classes: int
    encoder: nn.Module = ResNet(50, output_stride=8, dilated="after_first")
    auxiliary: Literal["head", "none"] = "none"
    dropout: float = 0.1
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Maps of sizes that are multiples of this fall on the image's pixels."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), self.stride)
        size, padded = image.shape[1:-1], x.shape[1:-1]
        *_, before, last = self.encoder(x, train=train)
        logits = crop(resize(self._head(last, "", train), padded, "linear"), size)
        if self.auxiliary == "none":
            return Prediction(logits)
        return Prediction(logits, (self._head(before, "auxiliary_", train),))

    def _head(self, x: Array, place: str, train: bool) -> Float[Array, "b *t k"]:
        conv = ConvNorm(x.shape[-1] // 4, norm=self.norm, name=f"{place or 'head_'}conv")
        x = conv(x, train=train)
        drop = nn.Dropout(self.dropout, deterministic=not train, name=f"{place}dropout")
        return Head(self.num_classes, name=f"{place}head")(drop(x))
