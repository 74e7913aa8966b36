"""SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation.

Badrinarayanan, Kendall, Cipolla 2017, https://arxiv.org/abs/1511.00561;
with ``dropout``: Bayesian SegNet, Kendall et al. 2015, https://arxiv.org/abs/1511.02680

Layers have the names of the released Caffe network. Differs from it: batch norm keeps running
statistics (there they are computed over the training set after training) and an epsilon of 1e-5
(1e-9). Bayesian SegNet predicts the mean of samples: ``evaluation.dropout_samples=50``, and
`jaxseg.monte_carlo` has their variance.
"""

import re
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import VGG, Standardize
from jaxseg.encoders.standardize import standardized
from jaxseg.encoders.vgg import CONVS
from jaxseg.layers import ConvNorm, Head
from jaxseg.ops import max_pool_with_indices, max_unpool
from jaxseg.types import Names, Paper, Prediction


def _of_vgg(pattern: str, name: str) -> tuple[str, str]:
    return pattern, re.sub(r"level(\d)_conv", lambda found: f"conv{int(found[1]) + 1}_", name)


class SegNet(nn.Module):
    """VGG16 with norms, and its mirror, which unpools to where each maximum came from.

    ``width`` is that of the first level; it doubles up to the fourth. Sizes after pooling are
    rounded up, so that any image fits. ``dropout`` acts after the three coarsest levels of either
    side, one half in Bayesian SegNet; it needs the rng of that name.
    """

    paper: ClassVar[Paper] = Paper(
        "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
        "Badrinarayanan",
        2017,
        "https://arxiv.org/abs/1511.00561",
    )

    names: ClassVar[Names] = {
        "caffe": (
            (r"conv1_1_D", "head!"),
            (r"(conv\d_\d(?:_D)?)", r"\1.conv!"),
            (r"(conv\d_\d(?:_D)?)_bn", r"\1.norm!"),
        ),
        "torchvision": tuple(_of_vgg(*pair) for pair in VGG(norm="batch").names["torchvision"]),
    }

    num_classes: int
    width: int = 64
    dropout: float = 0.0
    standardize: Standardize | None = None
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Total down-sampling."""
        return 2 ** len(CONVS[16])

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b h w c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x, pooled = standardized(jnp.asarray(image, self.dtype), self.standardize), []
        for level, convs in enumerate(CONVS[16], start=1):
            for i in range(1, convs + 1):
                x = self._conv(x, f"conv{level}_{i}", level, train)
            size = x.shape[1:-1]
            x, index = max_pool_with_indices(x, ceil_mode=True)
            pooled.append((index, size))
            x = self._dropped(x, f"pool{level}", level, train)
        for level in (5, 4, 3, 2, 1):
            x = max_unpool(x, *pooled[level - 1])
            for i in range(CONVS[16][level - 1], 0 if level > 1 else 1, -1):
                # the last of a level already has the width of the next
                x = self._conv(x, f"conv{level}_{i}_D", level - (i == 1), train)
            x = self._dropped(x, f"conv{level}_1_D", level, train)
        return Prediction(Head(self.num_classes, kernel_size=3, name="head")(x))

    def _conv(self, x: Array, name: str, level: int, train: bool) -> Float[Array, "b h w k"]:
        width = self.width * min(2 ** (level - 1), 8)
        return ConvNorm(width, use_bias=True, name=name)(x, train=train)

    def _dropped(self, x: Array, after: str, level: int, train: bool) -> Float[Array, "b h w k"]:
        rate = self.dropout if level >= 3 else 0.0
        return nn.Dropout(rate, deterministic=not train, name=f"{after}_dropout")(x)
