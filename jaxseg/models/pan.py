"""Pyramid Attention Network for Semantic Segmentation.

Li, Xiong, An, Wang 2018, https://arxiv.org/abs/1805.10180, figure 2

Differs from the paper: nothing known. No code was released, and the paper leaves open the widths
of the decoder and of the pyramid in its attention, how that is halved, and the kernel of the head:
they are those of segmentation_models_pytorch, whose PAN is ``PAN(k, encoder=ResNet(50,
output_stride=16), gate="sigmoid", use_bias=True)``.
"""

import functools
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.layers import Conv, Head, Kind, Norm
from jaxseg.ops import (
    average_pool,
    crop,
    max_pool,
    mean_over_space,
    pad_to_least,
    resize,
    spread,
)
from jaxseg.types import Names, Paper, Prediction

Gate = Literal["relu", "sigmoid"]

HALVED = 8
"""How much smaller than the encoder's last feature the pyramid of the attention gets."""


class PAN(nn.Module):
    """Encoder, feature pyramid attention on its last feature, an attentive upsampling a level.

    ``gau1`` takes the finest of the four features. The decoder is ``width`` wide; ``gate`` and
    ``use_bias`` are as of `GlobalAttentionUpsample`. Logits are enlarged from the size of that
    feature, corners aligned. Nothing is padded but images that would give the last feature fewer
    than 8 pixels an axis: zeros at the end. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Pyramid Attention Network for Semantic Segmentation",
        "Li",
        2018,
        "https://arxiv.org/abs/1805.10180",
    )

    names: ClassVar[Names] = {
        "segmentation_models_pytorch": (
            (r"decoder\.fpa\.branch1\.1\.conv", "fpa.global_conv!"),
            (r"decoder\.fpa\.branch1\.1\.bn", "fpa.global_norm!"),
            (r"decoder\.fpa\.mid\.0\.conv", "fpa.main_conv!"),
            (r"decoder\.fpa\.mid\.0\.bn", "fpa.main_norm!"),
            (r"decoder\.fpa\.down(\d)\.1\.conv", r"fpa.down\1_conv!"),
            (r"decoder\.fpa\.down(\d)\.1\.bn", r"fpa.down\1_norm!"),
            (r"decoder\.fpa\.down3\.2\.conv", "fpa.level3_conv!"),
            (r"decoder\.fpa\.down3\.2\.bn", "fpa.level3_norm!"),
            (r"decoder\.fpa\.conv(\d)\.conv", r"fpa.level\1_conv!"),
            (r"decoder\.fpa\.conv(\d)\.bn", r"fpa.level\1_norm!"),
            (r"decoder\.gau(\d)\.conv1\.1\.conv", r"gau\1.gate_conv!"),
            (r"decoder\.gau(\d)\.conv1\.1\.bn", r"gau\1.gate_norm!"),
            (r"decoder\.gau(\d)\.conv2\.conv", r"gau\1.local_conv!"),
            (r"decoder\.gau(\d)\.conv2\.bn", r"gau\1.local_norm!"),
            (r"segmentation_head\.0", "head!"),
        )
    }

    num_classes: int
    encoder: nn.Module = ResNet(101, stem="deep", output_stride=16)
    width: int = 32
    gate: Gate = "relu"
    use_bias: bool = False
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: the attention weighs by means over the whole image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), HALVED * self.encoder.strides[-1])
        size, padded = image.shape[1:-1], x.shape[1:-1]
        *low, x = self.encoder(x, train=train)[-4:]
        shared = {"norm": self.norm, "use_bias": self.use_bias}
        x = FeaturePyramidAttention(self.width, **shared, name="fpa")(x, train=train)
        for level, y in reversed(list(enumerate(low, start=1))):
            gau = GlobalAttentionUpsample(gate=self.gate, **shared, name=f"gau{level}")
            x = gau(y, x, train=train)
        logits = Head(self.num_classes, kernel_size=3, name="head")(x)
        return Prediction(crop(resize(logits, padded, "linear", align_corners=True), size))


class FeaturePyramidAttention(nn.Module):
    """``main * attention + global``: a 1x1 branch, weighted per pixel by a U-shaped pyramid.

    The pyramid halves three times, with kernels of 7, 5 and 3 on the way down and again at each
    level before the levels are upsampled and summed, coarsest first; the global branch is the mean
    of x through a 1x1. Every convolution is followed by norm and ReLU.

    The paper leaves the pyramid's ``width`` and its halving open (its ablation tries both kinds of
    pooling). As in segmentation_models_pytorch they are one channel, which weighs all features of
    a pixel alike, and ``max`` pooling before the convolution; that code also has a bias before each
    norm (``use_bias``). Any spatial rank; fewer than 8 pixels an axis, or a ``width`` that is
    neither 1 nor ``features``: UserError.
    """

    features: int
    width: int = 1
    pool: Literal["max", "average"] = "max"
    align_corners: bool = True
    norm: Kind = "batch"
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays."""
        self._check(x)
        block = functools.partial(self._block, train=train)
        mean = block(mean_over_space(x), self.features, 1, "global")
        main = block(x, self.features, 1, "main")
        pool = max_pool if self.pool == "max" else average_pool
        down1 = block(pool(x, 2), self.width, 7, "down1")
        down2 = block(pool(down1, 2), self.width, 5, "down2")
        down3 = block(pool(down2, 2), self.width, 3, "down3")
        sum3 = block(down3, self.width, 3, "level3")
        sum2 = block(down2, self.width, 5, "level2") + self._like(sum3, down2)
        sum1 = block(down1, self.width, 7, "level1") + self._like(sum2, down1)
        weight = self._like(sum1, x)
        self.sow("intermediates", "attention", weight)
        weight = spread(weight, main.shape, main.dtype)
        return main * weight + spread(mean, main.shape, main.dtype)

    def _like(self, x: Array, y: Array) -> Float[Array, "b ..."]:
        return resize(x, y.shape[1:-1], "linear", align_corners=self.align_corners)

    def _block(
        self, x: Array, features: int, kernel_size: int, role: str, train: bool
    ) -> Float[Array, "b ..."]:
        x = Conv(
            features,
            kernel_size=kernel_size,
            use_bias=self.use_bias or self.norm == "none",
            name=f"{role}_conv",
        )(x)
        norm = Norm(self.norm, activation="relu", name=f"{role}_norm")
        return norm(x, train=train)

    def _check(self, x: Array) -> None:
        if any(isinstance(n, int) and n < HALVED for n in x.shape[1:-1]):
            raise UserError(
                f"FeaturePyramidAttention {self.name}: a map of {x.shape[1:-1]} cannot be halved "
                f"three times; it takes at least {HALVED} pixels an axis (larger images, a smaller "
                "stride)"
            )
        if self.width not in (1, self.features):
            raise UserError(
                f"FeaturePyramidAttention {self.name}: width={self.width} does not fit "
                f"features={self.features}; 1 and {self.features} do"
            )


class GlobalAttentionUpsample(nn.Module):
    """``upsampled(high) + relu(norm(conv3x3(low))) * gate(norm(conv1x1(mean(high))))``.

    The gate, one number a channel, is a ReLU in the paper and a sigmoid in
    segmentation_models_pytorch, whose convolutions also have a bias before the norm
    (``use_bias``: no effect but on parameter counts and weights read from there). Any spatial rank.
    """

    gate: Gate = "relu"
    align_corners: bool = True
    norm: Kind = "batch"
    use_bias: bool = False

    @nn.compact
    def __call__(
        self, low: Float[Array, "b *s c"], high: Float[Array, "b *t k"], *, train: bool
    ) -> Float[Array, "b *s k"]:
        """``low`` is the finer map; the size is its, the channels are those of ``high``."""
        if low.ndim != high.ndim:
            raise UserError(
                f"GlobalAttentionUpsample {self.name}: low {low.shape} and high {high.shape}; "
                "both need the same number of axes"
            )
        weight = self._conv_norm(mean_over_space(high), high.shape[-1], "gate", train)
        self.sow("intermediates", "attention", weight)
        local = self._conv_norm(low, high.shape[-1], "local", train)
        high = resize(high, low.shape[1:-1], "linear", align_corners=self.align_corners)
        return high + local * spread(weight, local.shape, local.dtype)

    def _conv_norm(self, x: Array, features: int, role: str, train: bool) -> Float[Array, "b ..."]:
        x = Conv(
            features,
            kernel_size=1 if role == "gate" else 3,
            use_bias=self.use_bias or self.norm == "none",
            name=f"{role}_conv",
        )(x)
        norm = Norm(
            self.norm, activation=self.gate if role == "gate" else "relu", name=f"{role}_norm"
        )
        return norm(x, train=train)
