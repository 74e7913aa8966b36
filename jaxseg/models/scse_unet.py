"""U-Net recalibrated: Concurrent Spatial and Channel Squeeze & Excitation.

Roy, Navab, Wachinger 2018, https://arxiv.org/abs/1803.02579; journal (TMI 2019)
https://arxiv.org/abs/1808.08127

Differs from the paper: it puts the blocks into three networks, of which this is U-Net, here with
the widths and batch norm of ``unet``. The default takes the larger of both kinds of weights, as the
journal paper and the authors' code; the conference paper adds them:
``recalibration=ConcurrentExcitation("add")``.

segmentation_models_pytorch's ``scse`` is another placement of the blocks, that of
``UNet(k, encoder=ResNet(34), recalibration=ConcurrentExcitation("add", 16),
recalibrated="joined")``.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Plain
from jaxseg.layers import ConcurrentExcitation, ExpandingPath, Head, Kind
from jaxseg.ops import crop, pad_to_multiple
from jaxseg.types import Paper, Prediction


class SCSEUNet(nn.Module):
    """U-Net with a block after each level of the encoder, after the bottleneck and of the decoder.

    ``recalibration`` is that block: ``ConcurrentExcitation()`` (scSE), ``SqueezeExcitation(2)``
    (cSE: channels alone), ``SpatialExcitation()`` (sSE: pixels alone). ``widths`` are the levels',
    finest first. 2-D and 3-D by the rank of the image, of any size: padded with zeros at the end
    of each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
        "Roy",
        2018,
        "https://arxiv.org/abs/1803.02579",
    )

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    recalibration: nn.Module = ConcurrentExcitation()
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        shared = {"norm": self.norm, "recalibration": self.recalibration}
        encoder = Plain(self.widths, **shared, name="encoder")
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        features = encoder(x, train=train)
        decoder = ExpandingPath(encoder.strides, **shared, name="decoder")
        x, *_ = decoder(features, train=train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), image.shape[1:-1]))
