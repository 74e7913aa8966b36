"""Unified Perceptual Parsing for Scene Understanding: UPerNet, its branch for scenes.

Xiao, Liu, Zhou, Jiang, Sun 2018, https://arxiv.org/abs/1807.10221, figure 4

The network is that of the authors' CSAIL semantic segmentation code, for one task: the heads for
objects, parts, materials and textures are left out. There the pyramid pooling enlarges before its
1x1 convolutions, and a norm follows every convolution of the pyramid.

segmentation_models_pytorch's is ``UPerNet(k, encoder=ResNet(50), width=256, reduced="pooled",
feature_norm="layer", align_corners=True)``.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.layers import ConvNorm, Head, Kind, PyramidPooling
from jaxseg.ops import crop, pad_to_least, resize
from jaxseg.types import Names, Paper, Prediction


class UPerNet(nn.Module):
    """Encoder, pyramid pooling on top of a feature pyramid, all levels fused, a head.

    P2 is the finest of the four levels. Every convolution of the decoder has ``width`` channels.
    ``feature_norm`` is what the encoder's features pass first, over the channels of a pixel.
    ``align_corners`` is of the logits alone, which are enlarged from the size of P2.
    ``norm_of_top`` is that of the convolution after the pyramid pooling; None is ``norm``. Nothing
    is padded but images smaller than the encoder's stride. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Unified Perceptual Parsing for Scene Understanding",
        "Xiao",
        2018,
        "https://arxiv.org/abs/1807.10221",
    )

    num_classes: int
    encoder: nn.Module = ResNet(50, stem="deep")
    width: int = 512
    bins: tuple[int, ...] = (1, 2, 3, 6)
    reduced: Literal["enlarged", "pooled"] = "enlarged"
    feature_norm: Literal["none", "layer"] = "none"
    align_corners: bool = False
    norm: Kind = "batch"
    norm_of_top: Kind | None = None
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """Places of segmentation_models_pytorch, which numbers levels from the coarsest on."""
        top = len(self.encoder.strides[-4:]) + 1
        rows = [(rf"decoder\.feature_norms\.{i}", f"p{2 + i}_norm!") for i in range(top - 1)]
        for i, bins in enumerate((1, 2, 3, 6)):
            rows.append((rf"decoder\.psp\.blocks\.{i}\.1\.(?:0|1)", f"ppm.bins{bins}"))
        for i in range(top - 2):
            place, lateral = f"p{top - 1 - i}", rf"decoder\.fpn_lateral_blocks\.{i}"
            rows.append((rf"{lateral}\.conv_norm_relu\.(?:0|1)", f"{place}_lateral"))
            rows.append((rf"decoder\.fpn_conv_blocks\.{i}\.(?:0|1)", f"{place}_conv"))
        rows.append((r"decoder\.psp\.out_conv\.(?:0|1)", f"p{top}_conv"))
        rows.append((r"decoder\.fusion_block\.(?:0|1)", "fusion"))
        rows.append((r"segmentation_head\.0", "head!"))
        return {"segmentation_models_pytorch": tuple(rows)}

    @property
    def stride(self) -> None:
        """None: the bins of the pyramid pooling are of the whole image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), self.encoder.strides[-1])
        size, padded = image.shape[1:-1], x.shape[1:-1]
        features = self.encoder(x, train=train)[-4:]
        maps = self._pyramid([self._normed(y, i) for i, y in enumerate(features)], train)
        maps = [resize(y, maps[0].shape[1:-1], "linear") for y in maps]
        x = self._conv(3, "fusion")(jnp.concatenate(maps, axis=-1), train=train)
        logits = Head(self.num_classes, name="head")(x)
        logits = resize(logits, padded, "linear", align_corners=self.align_corners)
        return Prediction(crop(logits, size))

    def _pyramid(self, features: list[Array], train: bool) -> list[Float[Array, "b ..."]]:
        """P2, P3, ...: the last with pyramid pooling, the others summed from above."""
        *finer, x = features
        ppm = PyramidPooling(
            self.width,
            bins=self.bins,
            align_corners=False,
            reduced=self.reduced,
            norm=self.norm,
            name="ppm",
        )
        fuse = self._conv(3, f"p{len(finer) + 2}_conv", self.norm_of_top)
        above = fuse(ppm(x, train=train), train=train)
        maps = [above]
        for level, y in reversed(list(enumerate(finer, start=2))):
            y = self._conv(1, f"p{level}_lateral")(y, train=train)
            above = y + resize(above, y.shape[1:-1], "linear")
            maps.append(self._conv(3, f"p{level}_conv")(above, train=train))
        return maps[::-1]

    def _normed(self, x: Array, i: int) -> Float[Array, "b *s c"]:
        if self.feature_norm == "none":
            return x
        norm = nn.LayerNorm(
            epsilon=1e-6, dtype=x.dtype, use_fast_variance=False, name=f"p{i + 2}_norm"
        )
        return norm(x)

    def _conv(self, kernel_size: int, name: str, norm: Kind | None = None) -> ConvNorm:
        return ConvNorm(self.width, kernel_size=kernel_size, norm=norm or self.norm, name=name)
