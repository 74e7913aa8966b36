"""The U-Net that surveys of medical segmentation take as their baseline.

After Ronneberger, Fischer, Brox 2015, https://arxiv.org/abs/1505.04597

Differs from the paper (``unet_2015`` is the paper's): padded convolutions, each with a bias and
followed by batch norm; the coarsest level is no wider than the one above it; instead of an
up-convolution, each pixel is repeated and a 3x3 convolution with norm follows; the head has no
bias. ``BaselineUNet(k, widths=(64, 128, 256, 512, 1024), head_bias=True)`` is Lee's ``U_Net``
(LeeJunHyun/Image_Segmentation), to the weight.

``BaselineUNet(k, widths=(16, 32, 64, 128), form="bioimage", head_bias=True)`` is the ``UNet2d`` of
BioImage.IO's model of fluorescent nuclei: no norm, one ReLU after both convolutions of a level, and
linear upsampling with a 1x1 convolution.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.layers import Conv, ConvNorm, Head
from jaxseg.ops import crop, enlarge, max_pool, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction


def of_lee() -> tuple[tuple[str, str], ...]:
    """Lee's places: levels count from 1; ``Up5`` makes of level 5's map one of level 4's size."""
    rows = [("Conv_1x1", "head!")]
    for level in range(5):
        for conv, norm, i in ((0, 1, 1), (3, 4, 2)):
            for block, ours in (
                (f"Conv{level + 1}", f"level{level}_conv{i}"),
                (f"Up_conv{level + 2}", f"level{level}_up_conv{i}"),
            ):
                rows.append((rf"{block}\.conv\.{conv}", f"{ours}.conv!"))
                rows.append((rf"{block}\.conv\.{norm}", f"{ours}.norm!"))
        rows.append((rf"Up{level + 2}\.up\.1", f"level{level}_up.conv!"))
        rows.append((rf"Up{level + 2}\.up\.2", f"level{level}_up.norm!"))
    return tuple(rows)


def _of_bioimage(levels: int) -> tuple[tuple[str, str], ...]:
    """They count the decoder's levels from the coarsest on."""
    rows = [("output", "head!")]
    for i in (0, 1):
        rows.append((rf"base\.{i}", f"level{levels}_conv{i + 1}.conv!"))
        for level in range(levels):
            up = levels - 1 - level
            rows.append((rf"encoders\.{level}\.{i}", f"level{level}_conv{i + 1}.conv!"))
            rows.append((rf"decoders\.{up}\.{i}", f"level{level}_up_conv{i + 1}.conv!"))
    for level in range(levels):
        rows.append((rf"upsamplers\.{levels - 1 - level}\.1", f"level{level}_up!"))
    return tuple(rows)


class BaselineUNet(nn.Module):
    """Two convolutions a level, max pooling by 2; [skip, upsampled] on the way back.

    ``widths`` are the levels', finest first. 2-D and 3-D by the rank of the image, of any size:
    padded with zeros at the end of each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        "Ronneberger",
        2015,
        "https://arxiv.org/abs/1505.04597",
    )

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    head_bias: bool = False
    form: Literal["survey", "bioimage"] = "survey"
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """Those of the code that has this form."""
        if self.form == "bioimage":
            return {"bioimage": _of_bioimage(len(self.widths) - 1)}
        return {"LeeJunHyun/Image_Segmentation": of_lee()}

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, skips = image.shape[1:-1], []
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        for level, width in enumerate(self.widths):
            x = max_pool(x) if level else x
            x = self._double(x, width, f"level{level}", train)
            skips.append(x)
        for level in reversed(range(len(self.widths) - 1)):
            width = self.widths[level]
            x = self._up(x, width, f"level{level}_up", train)
            x = jnp.concatenate([skips[level], x], axis=-1)
            x = self._double(x, width, f"level{level}_up", train)
        head = Head(self.num_classes, use_bias=self.head_bias, name="head")
        return Prediction(crop(head(x), size))

    def _double(self, x: Array, width: int, place: str, train: bool) -> Float[Array, "b *s k"]:
        for i in (1, 2):
            linear = self.form == "bioimage" and i == 1
            conv = ConvNorm(
                width,
                use_bias=True,
                norm="batch" if self.form == "survey" else "none",
                activation="none" if linear else "relu",
                name=f"{place}_conv{i}",
            )
            x = conv(x, train=train)
        return x

    def _up(self, x: Array, width: int, name: str, train: bool) -> Float[Array, "b *t k"]:
        if self.form == "bioimage":
            return Conv(width, 1, name=name)(enlarge(x, 2, "linear"))
        return ConvNorm(width, use_bias=True, name=name)(enlarge(x, 2, "nearest"), train=train)
