"""U-Net with CBAM: Convolutional Block Attention Module.

Woo, Park, Lee, Kweon 2018, https://arxiv.org/abs/1807.06521

Differs from the paper: it weighs the blocks of networks for classification; here, as is usual in
segmentation, those of U-Net, with the widths and batch norm of ``unet``. The module is the authors'
released one; ``recalibration=CBAM(norm="none")`` is the paper's.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Plain
from jaxseg.layers import CBAM, ExpandingPath, Head, Kind
from jaxseg.ops import crop, pad_to_multiple
from jaxseg.types import Paper, Prediction


class CBAMUNet(nn.Module):
    """U-Net with the module after each level of the encoder, after the bottleneck, of the decoder.

    ``widths`` are the levels', finest first; ``recalibration`` is the module. 2-D and 3-D by the
    rank of the image, of any size: padded with zeros at the end of each axis to a multiple of
    ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "CBAM: Convolutional Block Attention Module",
        "Woo",
        2018,
        "https://arxiv.org/abs/1807.06521",
    )

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    recalibration: CBAM = CBAM()
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size. Raises UserError where CBAM's reduction leaves nothing."""
        shared = {"norm": self.norm, "recalibration": self.recalibration}
        encoder = Plain(self.widths, **shared, name="encoder")
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        features = encoder(x, train=train)
        decoder = ExpandingPath(encoder.strides, **shared, name="decoder")
        x, *_ = decoder(features, train=train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), image.shape[1:-1]))
