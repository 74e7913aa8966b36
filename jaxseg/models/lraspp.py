"""Searching for MobileNetV3: its head for segmentation, Lite R-ASPP.

Howard et al. 2019, https://arxiv.org/abs/1905.02244, section 6.4 and figure 10

Differs from the paper as torchvision's ``lraspp_mobilenet_v3_large`` does, which has the defaults
here: the gate is of the mean of the whole image, where the paper pools windows of 49 x 49 and
enlarges the gate again; and the encoder's last blocks have all of their channels, not half.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import MobileNetV3
from jaxseg.layers import Conv, ConvNorm, Head, Kind
from jaxseg.ops import crop, mean_over_space, pad_to_least, resize, spread
from jaxseg.types import Names, Paper, Prediction

HEAD = (
    (r"classifier\.cbr\.(?:0|1)", "high_project"),
    (r"classifier\.scale\.1", "gate!"),
    (r"classifier\.(low|high)_classifier", r"\1_head!"),
)


class LRASPP(nn.Module):
    """Encoder; its last feature, gated by channel; the sum of two heads, one of a finer feature.

    The finer feature is the last of a smaller stride than the coarsest. The gated one has ``width``
    channels and is enlarged to it. Logits are enlarged from the finer feature's size; nothing is
    padded but images smaller than the encoder's stride. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Searching for MobileNetV3", "Howard", 2019, "https://arxiv.org/abs/1905.02244"
    )

    num_classes: int
    encoder: nn.Module = MobileNetV3(output_stride=16, tap="first")
    width: int = 128
    norm: Kind = "batch"
    dtype: str = "float32"

    names: ClassVar[Names] = {"torchvision": HEAD}

    @property
    def stride(self) -> None:
        """None: the gate is of the whole image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), self.encoder.strides[-1])
        size, padded = image.shape[1:-1], x.shape[1:-1]
        features = self.encoder(x, train=train)
        low, high = features[self._finer()], features[-1]
        project = ConvNorm(self.width, kernel_size=1, norm=self.norm, name="high_project")
        gate = Conv(self.width, kernel_size=1, use_bias=False, name="gate")
        y = project(high, train=train)
        weight = nn.sigmoid(gate(mean_over_space(high)))
        self.sow("intermediates", "gate_attention", weight)
        y = y * spread(weight, y.shape, y.dtype)
        y = resize(y, low.shape[1:-1], "linear")
        logits = Head(self.num_classes, name="low_head")(low)
        logits = logits + Head(self.num_classes, name="high_head")(y)
        return Prediction(crop(resize(logits, padded, "linear"), size))

    def _finer(self) -> int:
        strides = self.encoder.strides
        finer = [i for i, stride in enumerate(strides) if stride < strides[-1]]
        return finer[-1] if finer else 0
