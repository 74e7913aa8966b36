"""DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and CRFs.

Chen, Papandreou, Kokkinos, Murphy, Yuille 2018, https://arxiv.org/abs/1606.00915: DeepLab v2

Differs from the released networks: in training the logits are enlarged to the labels, where they
take every eighth label (auxiliary logits stay small: `DeepSupervision` reduces labels to them);
norms follow the batch, where theirs stay as they are. The CRF belongs to evaluation: `jaxseg.crf`.

The community's port (kazuto1011/deeplab-pytorch) rounds sizes of reduced images down and does not
align their corners.
"""

import math
from fractions import Fraction
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.errors import require
from jaxseg.layers.aspp import SummedASPP
from jaxseg.models.deeplab_v1 import CAFFE, padded
from jaxseg.ops import crop, resize
from jaxseg.types import Names, Paper, Prediction


class DeepLabV2(nn.Module):
    """An encoder at stride 8, the sum of ASPP's branches, the maximum over scales of the image.

    The default is ResNet-101 with one 3x3 convolution a branch. On VGG16,
    ``encoder=VGG(16, output_stride=8, pool="ceil", pool_size=3), hidden=1024, scales=(1.0,)``,
    each branch has fc6, fc7 and fc8 (0 ``hidden`` is none of these); ``rates`` are ASPP-L, and
    ``(2, 4, 8, 12)`` are ASPP-S.

    The network sees the image at each of ``scales`` (the first is 1); logits of all are brought to
    the size of the first, at stride 8, and the largest of each class and pixel is taken. Where
    there are several scales, each one's own logits are in ``auxiliary``, in their order. Images are
    padded at their ends to 8 n + 1 pixels. ``dropout`` is that of VGG's branches (rng ``dropout``).
    """

    paper: ClassVar[Paper] = Paper(
        "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, "
        "and Fully Connected CRFs",
        "Chen",
        2018,
        "https://arxiv.org/abs/1606.00915",
    )

    names: ClassVar[Names] = {
        "caffe": (
            *CAFFE,
            (r"(fc[678])\w*_([1-4])", r"aspp.dilated\2_\1!"),
            *((rf"fc1\w*_c{i}", f"aspp.dilated{i + 1}!") for i in range(4)),
        )
    }

    num_classes: int
    encoder: nn.Module = ResNet(101, strided="1x1", output_stride=8, pool="ceil")
    rates: tuple[int, ...] = (6, 12, 18, 24)
    hidden: int = 0
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    dropout: float = 0.5
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: the maps have a row more than an eighth of the image's."""

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b h w c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        right = self.scales[:1] == (1.0,) and all(0 < scale <= 1 for scale in self.scales)
        require(right, "DeepLabV2.scales", self.scales, "1.0, then others above 0 and up to 1")
        aspp = SummedASPP(
            self.num_classes, self.rates, self.hidden or None, self.dropout, name="aspp"
        )
        least = math.ceil(1 / min(self.scales))  # of the smallest image, a stride is left
        stride = self.encoder.strides[-1]  # pyright: ignore
        x = padded(jnp.asarray(image, self.dtype), stride, least)
        scores, fused = [], None
        for scale in self.scales:
            sizes = tuple(_scaled(n, scale) for n in x.shape[1:-1])
            y = x if scale == 1 else resize(x, sizes, "linear", align_corners=True)
            y = self.encoder(y, train=train)[-1]
            y = aspp(y, train=train).astype(jnp.float32)
            scores.append(y)
            if fused is None:
                fused = y
            else:
                y = resize(y, fused.shape[1:-1], "linear", align_corners=True)
                fused = jnp.maximum(fused, y)
        assert fused is not None
        auxiliary = tuple(scores) if len(scores) > 1 else ()
        logits = resize(fused, x.shape[1:-1], "linear", align_corners=True)
        return Prediction(crop(logits, image.shape[1:-1]), auxiliary)


def _scaled(n: Any, scale: float) -> Any:
    """``scale (n - 1) + 1`` rounded: 241 and 161 pixels of 321, whose first and last ones meet."""
    exact = Fraction(scale).limit_denominator(1000)
    top, bottom = exact.numerator, exact.denominator
    return ((n - 1) * top + bottom // 2) // bottom + 1
