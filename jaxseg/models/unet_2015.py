"""U-Net: Convolutional Networks for Biomedical Image Segmentation, as in its figure 1.

Ronneberger, Fischer, Brox 2015, https://arxiv.org/abs/1505.04597

Valid convolutions with biases, no norm, "copy and crop": an image of 572 gives logits of 388.
Dropout of one half where the paper says "at the end of the contracting path"; that this means
the last two levels is taken from descriptions of the authors' Caffe model.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers import Conv, Head, TransposedConv
from jaxseg.ops import crop_centre, max_pool
from jaxseg.types import Paper, Prediction


class UNet2015(nn.Module):
    """Two 3x3 a level, pooling by 2, up-convolutions that halve the channels.

    Sizes ``n % 16 == 12`` from 188 on fit (every pooled size is even); others are refused. Logits
    cover the middle ``n - 184`` pixels: mirror the image at its border for those outside.
    Training needs the rng ``dropout``. 3-D by the rank of the image.
    """

    paper: ClassVar[Paper] = Paper(
        "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        "Ronneberger",
        2015,
        "https://arxiv.org/abs/1505.04597",
    )

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    dropout: float = 0.5
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Total down-sampling; sizes that fit lie this far apart."""
        return 2 ** (len(self.widths) - 1)

    def output_size(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Size of the logits, centred in the image; UserError where the image does not fit."""
        return valid_size("unet_2015", len(self.widths), spatial)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of ``output_size``."""
        if all(isinstance(n, int) for n in image.shape):  # not the symbolic ones of jax.export
            self.output_size(image.shape[1:-1])
        x, skips = jnp.asarray(image, self.dtype), []
        last = len(self.widths) - 1
        for level, width in enumerate(self.widths):
            x = max_pool(x) if level else x
            x = self._double(x, width, f"level{level}")
            if level >= last - 1:
                drop = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{level}")
                x = drop(x)
            skips.append(x)
        for level in reversed(range(last)):
            width, skip = self.widths[level], skips[level]
            up = TransposedConv(width, name=f"level{level}_up")
            x = up(x)
            x = jnp.concatenate([crop_centre(skip, x.shape[1:-1]), x], axis=-1)
            x = self._double(x, width, f"level{level}_up")
        head = Head(self.num_classes, name="head")
        return Prediction(head(x))

    def _double(self, x: Array, width: int, place: str) -> Float[Array, "b *t k"]:
        for i in (1, 2):
            conv = Conv(width, padding=0, name=f"{place}_conv{i}")
            x = nn.relu(conv(x))
        return x


# --- sizes of valid convolutions ------------------------------------------------------------------


def valid_size(
    name: str, levels: int, spatial: tuple[int, ...], other: str = ""
) -> tuple[int, ...]:
    """Size of what is left of an image by two valid 3x3 a level, with poolings by 2 between.

    UserError where a map that is pooled has an odd size, or nothing is left; ``other`` ends the
    sentence of what else could be done.
    """
    misfits = [n for n in spatial if not _fits(levels, n)]
    if misfits:
        near = sorted({m for n in misfits for m in _nearest(levels, n)})
        size, near = " x ".join(map(str, spatial)), ", ".join(map(str, near))
        raise UserError(
            f"{name}: an image of {size} does not fit its valid convolutions; nearest sizes "
            f"of an axis that do: {near} (pad or crop{other})"
        )
    return tuple(n - _margin(levels) for n in spatial)


def _margin(levels: int) -> int:
    """Pixels that the convolutions take off; at level l each takes ``2 * 2**l``."""
    return 4 * 2 ** (levels - 1) + 2 * sum(4 * 2**level for level in range(levels - 1))


def _fits(levels: int, n: int) -> bool:
    size = n
    for _ in range(levels - 1):
        if size - 4 <= 0 or size % 2:
            return False
        size = (size - 4) // 2
    return size > 4 and n > _margin(levels)


def _nearest(levels: int, n: int) -> list[int]:
    """The largest size that fits up to n, and the smallest from n on."""
    margin = _margin(levels)
    fit = range(margin + 1, max(n, margin) + 2 * 2 ** (levels - 1) + 1)
    fit = [m for m in fit if _fits(levels, m)]
    return [m for m in fit if m <= n][-1:] + [m for m in fit if m >= n][:1]
