"""Dual Attention Network for Scene Segmentation.

Fu, Liu, Tian, Li, Bao, Fang, Lu 2019, https://arxiv.org/abs/1809.02983, figures 2 and 3

Differs from the paper, as the authors' code does: a channel attends most to those least like it
(``form="paper"`` takes the softmax that equation 3 prints); both branches have heads of their own
in training, whose logits are ``auxiliary``.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.layers import (
    ChannelAttention,
    ChannelDropout,
    ConvNorm,
    Head,
    Kind,
    PositionAttention,
)
from jaxseg.ops import crop, pad_to_least, resize
from jaxseg.ops.fit import Sizes
from jaxseg.types import Names, Paper, Prediction

GRID = ((1, *(2,) * 22), (4, 8, 16))
"""Dilations of the last two stages of the released ResNet-101."""


class DANet(nn.Module):
    """A dilated encoder, attention among its pixels and among its channels, the sum of both.

    Each branch projects the last feature to ``width`` (3x3), attends, and convolves again (3x3);
    the head is a 1x1 convolution of the sum, and ``auxiliary="heads"`` adds one of each branch:
    position first, then channel. Query and key of the position attention have ``width //
    reduction`` channels. ``form`` is that of the channel attention. ``dropout`` drops channels
    before each head and needs the rng ``dropout``. All logits are resized to the image, corners
    aligned. Nothing is padded but images of fewer pixels than the encoder's stride: zeros at the
    end. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Dual Attention Network for Scene Segmentation",
        "Fu",
        2019,
        "https://arxiv.org/abs/1809.02983",
    )

    names: ClassVar[Names] = {
        "junfu1115/DANet": (
            (r"head\.conv5a\.(?:0|1)", "position_reduce"),
            (r"head\.conv5c\.(?:0|1)", "channel_reduce"),
            (r"head\.sa\.(query|key|value)_conv", r"position.\1!"),
            (r"head\.sa", "position@gamma"),
            (r"head\.sc", "channel@gamma"),
            (r"head\.conv51\.(?:0|1)", "position_conv"),
            (r"head\.conv52\.(?:0|1)", "channel_conv"),
            (r"head\.conv6\.1", "position_head!"),
            (r"head\.conv7\.1", "channel_head!"),
            (r"head\.conv8\.1", "head!"),
        )
    }

    num_classes: int
    encoder: nn.Module = ResNet(101, output_stride=8, dilations=GRID)
    width: int = 512
    reduction: int = 8
    form: Literal["released", "paper"] = "released"
    auxiliary: Literal["heads", "none"] = "heads"
    dropout: float = 0.1
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: each pixel attends to all of the image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), self.encoder.strides[-1])
        size, padded = image.shape[1:-1], x.shape[1:-1]
        *_, x = self.encoder(x, train=train)
        branches = []
        for name, attention in (
            ("position", PositionAttention(self.reduction, name="position")),
            ("channel", ChannelAttention(self.form, name="channel")),
        ):
            y = attention(self._conv(f"{name}_reduce")(x, train=train))
            branches.append(self._conv(f"{name}_conv")(y, train=train))
        position, channel = branches
        maps = {"head": position + channel}
        if self.auxiliary == "heads":
            maps |= {"position_head": position, "channel_head": channel}
        found = (self._logits(y, name, padded, train) for name, y in maps.items())
        logits, *auxiliary = (crop(y, size) for y in found)
        return Prediction(logits, tuple(auxiliary))

    def _conv(self, name: str) -> ConvNorm:
        return ConvNorm(self.width, norm=self.norm, name=name)

    def _logits(self, x: Array, name: str, size: Sizes, train: bool) -> Float[Array, "b *t k"]:
        x = ChannelDropout(self.dropout, name=f"{name}_dropout")(x, train=train)
        logits = Head(self.num_classes, name=name)(x)
        return resize(logits, size, "linear", align_corners=True)
