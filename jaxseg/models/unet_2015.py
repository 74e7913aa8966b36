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
        misfits = [n for n in spatial if self._logits_of(n) is None]
        if misfits:
            near = sorted({m for n in misfits for m in self._nearest(n)})
            size, near = " x ".join(map(str, spatial)), ", ".join(map(str, near))
            raise UserError(
                f"unet_2015: an image of {size} does not fit its valid convolutions; nearest sizes "
                f"of an axis that do: {near} (pad or crop)"
            )
        return tuple(n - self._margin for n in spatial)

    @property
    def _margin(self) -> int:
        """Pixels that the convolutions take off; at level l each takes ``2 * 2**l``."""
        stride = self.stride
        return 4 * stride + 2 * sum(4 * 2**level for level in range(len(self.widths) - 1))

    def _logits_of(self, n: int) -> int | None:
        size = n
        for _ in self.widths[1:]:
            if size - 4 <= 0 or size % 2:
                return None
            size = (size - 4) // 2
        return n - self._margin if size > 4 and n > self._margin else None

    def _nearest(self, n: int) -> list[int]:
        """The largest size that fits up to n, and the smallest from n on."""
        fit = range(self._margin + 1, max(n, self._margin) + 2 * self.stride + 1)
        fit = [m for m in fit if self._logits_of(m) is not None]
        return [m for m in fit if m <= n][-1:] + [m for m in fit if m >= n][:1]

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
