"""3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation.

Cicek, Abdulkadir, Lienkamp, Brox, Ronneberger 2016, https://arxiv.org/abs/1606.06650

``padded=False`` is the paper's figure 2. Differs from it by default: padded convolutions, so that
logits have the size of the image. Voxels without a label are IGNORE here, which has the paper's
weight of 0 in every loss.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ConvNorm, Head, Kind, TransposedConv
from jaxseg.models.unet_2015 import valid_size
from jaxseg.ops import crop, crop_centre, max_pool, pad_to_multiple
from jaxseg.types import Paper, Prediction


class UNet3D(nn.Module):
    """Two 3x3x3 a level, pooling by 2, up-convolutions that keep the channels.

    Widths double before a pooling, not after it: level l has ``width * 2**l`` features, then twice
    as many; on the way up twice both. A norm follows each convolution, before its ReLU; the
    convolution has a bias all the same, as the paper counts it (``use_bias``).

    An image of any size is padded with zeros at the end of each axis to a multiple of ``stride``,
    and cropped. With ``padded=False`` logits cover the middle of the image: 88 voxels of an axis
    are lost at four levels (132 x 132 x 116 gives 44 x 44 x 28). Sizes ``n % 8 == 4`` from 92 on
    fit, others are refused. 2-D by the rank of the image.

    The paper's batch is one volume, of which it takes the moments at test too: ``norm="instance"``
    computes that, in batches of any size (recalled, not checked).
    """

    paper: ClassVar[Paper] = Paper(
        "3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation",
        "Cicek",
        2016,
        "https://arxiv.org/abs/1606.06650",
    )

    num_classes: int
    width: int = 32
    levels: int = 4
    padded: bool = True
    norm: Kind = "batch"
    use_bias: bool = True
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Total down-sampling; sizes that fit without padding lie this far apart."""
        return 2 ** (self.levels - 1)

    def output_size(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Size of the logits, centred in the image; UserError where the image does not fit."""
        if self.padded:
            return tuple(spatial)
        return valid_size("unet_3d", self.levels, spatial, "; padded=True takes any")

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of ``output_size``."""
        require(self.levels >= 2, "UNet3D.levels", self.levels, "at least 2")
        x, size, skips = jnp.asarray(image, self.dtype), image.shape[1:-1], []
        if self.padded:
            x = pad_to_multiple(x, self.stride)
        elif all(isinstance(n, int) for n in size):  # not the symbolic ones of jax.export
            self.output_size(size)
        for level in range(self.levels):
            x = max_pool(x) if level else x
            width = self.width * 2**level
            x = self._pair(x, (width, 2 * width), f"level{level}", train)
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(self.levels - 1)):
            width = self.width * 2 ** (level + 1)
            x = TransposedConv(2 * width, name=f"level{level}_up")(x)
            skip = jnp.asarray(crop_centre(skips[level], x.shape[1:-1]))
            x = jnp.concatenate([skip, x], axis=-1)
            x = self._pair(x, (width, width), f"level{level}_up", train)
        logits = Head(self.num_classes, name="head")(x)
        return Prediction(crop(logits, size) if self.padded else logits)

    def _pair(
        self, x: Array, widths: tuple[int, int], place: str, train: bool
    ) -> Float[Array, "b *t k"]:
        for i, width in enumerate(widths, start=1):
            conv = ConvNorm(
                width,
                padding=None if self.padded else 0,
                norm=self.norm,
                use_bias=self.use_bias,
                name=f"{place}_conv{i}",
            )
            x = jnp.asarray(conv(x, train=train))
        return x
