"""MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation.

Fan, Wang, Li, Wang 2020, https://doi.org/10.1109/ACCESS.2020.3025372, figures 1 to 3

Differs from the paper: nothing known. No code was released; what the paper leaves open is as in
segmentation_models_pytorch. Its MAnet is ``MANet(k, encoder=ResNet(34), attention="smp")``: one
softmax over all pairs of positions, whose result is read in another order of axes than it was
written in.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.layers import Conv, ConvNorm, Head, Kind
from jaxseg.layers.attention_map import sow_received
from jaxseg.layers.expanding_path import level_strides
from jaxseg.ops import (
    Weighing,
    attend,
    crop,
    enlarge,
    mean_over_space,
    pad_to_multiple,
    spread,
    to_image,
    to_tokens,
)
from jaxseg.types import Names, Paper, Prediction

Attention = Literal["paper", "smp"]


def _of_smp(levels: int) -> tuple[tuple[str, str], ...]:
    """They number the levels of the decoder from the coarsest on."""
    return tuple(
        pair
        for i, place in enumerate(f"level{level}" for level in reversed(range(levels)))
        for pair in (
            (rf"decoder\.blocks\.{i}\.hl_conv\.0\.(?:0|1)", f"{place}_up_conv1"),
            (rf"decoder\.blocks\.{i}\.hl_conv\.1\.(?:0|1)", f"{place}_up_conv2"),
            (rf"decoder\.blocks\.{i}\.SE_ll\.1", f"{place}_skip_reduce!"),
            (rf"decoder\.blocks\.{i}\.SE_ll\.3", f"{place}_skip_expand!"),
            (rf"decoder\.blocks\.{i}\.SE_hl\.1", f"{place}_up_reduce!"),
            (rf"decoder\.blocks\.{i}\.SE_hl\.3", f"{place}_up_expand!"),
            (rf"decoder\.blocks\.{i}\.conv(\d)\.(?:0|1)", rf"{place}_conv\1"),
        )
    )


class MANet(nn.Module):
    """Encoder, position-wise attention (PAB), multi-scale fusion attention (MFAB) a level, a head.

    ``widths`` are the levels', coarsest first; an encoder of fewer levels has the first alone.
    Where the finest feature is not at full resolution, a last level without a skip and without
    attention follows, and a feature without channels gets none. ``upsample`` is how maps are
    enlarged. The gates of a level squeeze its
    channels by ``reduction``; ``position_width`` is that of query and key. Sizes are padded with
    zeros at the end of each axis to a multiple of the encoder's stride, and cropped. Volumes as
    well.
    """

    paper: ClassVar[Paper] = Paper(
        "MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation",
        "Fan",
        2020,
        "https://doi.org/10.1109/ACCESS.2020.3025372",
    )

    num_classes: int
    encoder: nn.Module = ResNet(34)
    widths: tuple[int, ...] = (256, 128, 64, 32, 16)
    attention: Attention = "paper"
    position_width: int = 64
    reduction: int = 16
    upsample: Literal["nearest", "bilinear"] = "nearest"
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """Places of segmentation_models_pytorch."""
        rows = (
            (r"decoder\.center\.top_conv", "pab.key!"),
            (r"decoder\.center\.center_conv", "pab.query!"),
            (r"decoder\.center\.bottom_conv", "pab.value!"),
            (r"decoder\.center\.out_conv", "pab.out!"),
            *_of_smp(len(level_strides(self.encoder.strides))),
            (r"segmentation_head\.0", "head!"),
        )
        return {"segmentation_models_pytorch": rows}

    @property
    def stride(self) -> None:
        """None: each position attends to all of the image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size. Raises UserError where ``widths`` are too few."""
        size, strides = image.shape[1:-1], self.encoder.strides
        levels = level_strides(strides)
        if len(levels) > len(self.widths):
            raise UserError(
                f"MANet.widths={self.widths}: {len(self.widths)} levels where the encoder's "
                f"strides {strides} make {len(levels)}; give one width a level"
            )
        x = pad_to_multiple(jnp.asarray(image, self.dtype), strides[-1])
        *skips, x = self.encoder(x, train=train)
        skips = [None] * (len(levels) - len(skips)) + skips
        x = PositionAttention(self.position_width, attention=self.attention, name="pab")(x)
        for level in reversed(range(len(levels))):
            factor = (*levels, strides[-1])[level + 1] // levels[level]
            width, place = self.widths[len(levels) - 1 - level], f"level{level}"
            skip = skips[level]
            if skip is None or not skip.shape[-1]:
                x = self._enlarged(x, factor)
            else:
                x = self._fused(x, skip, factor, place, train)
            for i in (1, 2):
                x = self._conv(width, 3, f"{place}_conv{i}")(x, train=train)
        return Prediction(crop(Head(self.num_classes, kernel_size=3, name="head")(x), size))

    def _fused(
        self, x: Array, skip: Array, factor: int, place: str, train: bool
    ) -> Float[Array, "b *t k"]:
        """MFAB before its two convolutions: [weighted x, skip], of the size of ``skip``."""
        x = self._conv(x.shape[-1], 3, f"{place}_up_conv1")(x, train=train)
        x = self._conv(skip.shape[-1], 1, f"{place}_up_conv2")(x, train=train)
        # means stay when a map is enlarged, so the weights are found before that
        weight = self._gate(x, f"{place}_up") + self._gate(skip, f"{place}_skip")
        x = self._enlarged(x * spread(weight, x.shape, x.dtype), factor)
        return jnp.concatenate([x, skip], axis=-1)

    def _enlarged(self, x: Array, factor: int) -> Float[Array, "b *t k"]:
        return enlarge(x, factor, "nearest" if self.upsample == "nearest" else "linear")

    def _gate(self, x: Array, place: str) -> Float[Array, "b *t k"]:
        """A weight a channel in (0, 1): squeeze and excitation without the product."""
        channels = x.shape[-1]
        narrow = max(channels // self.reduction, 1)
        y = nn.relu(Conv(narrow, kernel_size=1, name=f"{place}_reduce")(mean_over_space(x)))
        weight = nn.sigmoid(Conv(channels, kernel_size=1, name=f"{place}_expand")(y))
        self.sow("intermediates", f"{place}_attention", weight)
        return weight

    def _conv(self, features: int, kernel_size: int, name: str) -> ConvNorm:
        return ConvNorm(features, kernel_size=kernel_size, norm=self.norm, name=name)


class PositionAttention(nn.Module):
    """The block PAB: ``out(x + attention among positions)``, 3x3 for value and out (figure 2).

    ``smp`` is what segmentation_models_pytorch computes: softmax over all pairs of positions, and
    the sum, ``[n, c]``, read as ``[c, n]``.
    """

    width: int = 64
    attention: Attention = "paper"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """Size and channels stay."""
        c, space = x.shape[-1], x.shape[1:-1]
        query, key, value = (
            to_tokens(Conv(width, kernel_size=size, name=name)(x))
            for name, width, size in (
                ("query", self.width, 1),
                ("key", self.width, 1),
                ("value", c, 3),
            )
        )
        over = "keys" if self.attention == "paper" else "pairs"
        sow_received(self, query, key, space, Weighing(over=over))
        y = attend(query, key, value, Weighing(over=over))  # [b n 1 c]
        if self.attention == "paper":
            y = to_image(y, space)
        else:
            y = jnp.moveaxis(y.reshape(x.shape[0], c, *space), 1, -1)
        return Conv(c, name="out")(x + y)
