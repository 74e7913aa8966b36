"""SegNet-Basic, the small network of the SegNet paper: four levels of one 7x7 convolution.

Badrinarayanan, Kendall, Cipolla 2017, https://arxiv.org/abs/1511.00561, section 3.2

Layers have the names of the released Caffe network; what differs is as in ``segnet``.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Standardize
from jaxseg.encoders.standardize import standardized
from jaxseg.layers import ConvNorm, Head
from jaxseg.layers.activation import Activation
from jaxseg.ops import local_response, max_pool_with_indices, max_unpool
from jaxseg.types import Names, Paper, Prediction


class SegNetBasic(nn.Module):
    """Response normalisation of the image, four levels down and, without ReLU, four up.

    The first divides by more the larger an image's numbers are: released weights expect them up to
    255 (``standardize``), where it has an effect. Any size fits.
    """

    paper: ClassVar[Paper] = Paper(
        "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
        "Badrinarayanan",
        2017,
        "https://arxiv.org/abs/1511.00561",
    )

    names: ClassVar[Names] = {
        "caffe": (
            (r"conv_classifier", "head!"),
            (r"(conv\d|conv_decode\d)", r"\1.conv!"),
            (r"(conv\d|conv_decode\d)_bn", r"\1.norm!"),
        )
    }

    num_classes: int
    widths: tuple[int, ...] = (64, 64, 64, 64)
    standardize: Standardize | None = None
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Total down-sampling."""
        return 2 ** len(self.widths)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b h w c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = standardized(jnp.asarray(image, self.dtype), self.standardize)
        x, pooled = local_response(x), []
        for level, width in enumerate(self.widths, start=1):
            x = self._conv(x, f"conv{level}", width, "relu", train)
            size = x.shape[1:-1]
            x, index = max_pool_with_indices(x, ceil_mode=True)
            pooled.append((index, size))
        for level in range(len(self.widths), 0, -1):
            x = max_unpool(x, *pooled[level - 1])
            width = self.widths[max(level - 2, 0)]  # that of the pooling it unpools next
            x = self._conv(x, f"conv_decode{level}", width, "none", train)
        return Prediction(Head(self.num_classes, name="head")(x))

    def _conv(
        self, x: Array, name: str, width: int, activation: Activation, train: bool
    ) -> Float[Array, "b h w k"]:
        conv = ConvNorm(width, kernel_size=7, activation=activation, use_bias=True, name=name)
        return conv(x, train=train)
