"""The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for Semantic Segmentation.

Jégou, Drozdzal, Vazquez, Romero, Bengio 2017, https://arxiv.org/abs/1611.09326

Differs from the released code: norms take their running statistics in evaluation; there they take
those of the batch also then, which ``statistics="batch"`` does. Convolutions are drawn from He's
normal distribution (his uniform one). Images smaller than 32 pixels are padded.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.layers import Conv, DenseBlock, Head, Norm, Statistics, TransposedConv
from jaxseg.ops import crop, crop_centre, max_pool, pad_to_least
from jaxseg.types import Paper, Prediction


class FCDenseNet(nn.Module):
    """Dense blocks down and up, of which the way up carries the newly made maps alone (figure 1).

    ``layers`` are those of the blocks from the finest down to the bottleneck; the way up mirrors
    them. The default is FC-DenseNet103, ``layers=(5,) * 6`` 67, ``(4,) * 6`` with ``growth=12`` 56.
    ``first`` is the width of the first convolution. ``dropout`` needs the rng of that name.
    """

    paper: ClassVar[Paper] = Paper(
        "The One Hundred Layers Tiramisu: Fully Convolutional DenseNets",
        "Jégou",
        2017,
        "https://arxiv.org/abs/1611.09326",
    )

    num_classes: int
    layers: tuple[int, ...] = (4, 5, 7, 10, 12, 15)
    growth: int = 16
    first: int = 48
    dropout: float = 0.2
    statistics: Statistics = "running"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Total down-sampling."""
        return 2 ** (len(self.layers) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), self.stride)
        x, skips = Conv(self.first, name="first_conv")(x), []
        *down, bottleneck = self.layers
        for level, layers in enumerate(down):
            x = self._block(x, layers, f"down{level}", train)
            skips.append(x)
            x = self._halved(x, f"down{level}", train)
        y = self._block(x, bottleneck, "bottleneck", train)
        for level in reversed(range(len(down))):
            new = y[..., x.shape[-1] :]
            up = TransposedConv(new.shape[-1], kernel_size=3, name=f"up{level}_conv")(new)
            up = crop_centre(up, skips[level].shape[1:-1])
            x = jnp.concatenate([up, skips[level]], axis=-1)
            y = self._block(x, down[level], f"up{level}", train)
        logits = Head(self.num_classes, name="head")(y)
        return Prediction(crop(logits, image.shape[1:-1]))

    def _block(self, x: Array, layers: int, place: str, train: bool) -> Float[Array, "b *s k"]:
        block = DenseBlock(
            layers,
            self.growth,
            dropout=self.dropout,
            use_bias=True,
            statistics=self.statistics,
            name=f"{place}_block",
        )
        return block(x, train=train)

    def _halved(self, x: Array, place: str, train: bool) -> Float[Array, "b *t k"]:
        """Table 1's transition down; the width stays."""
        norm = Norm(activation="relu", statistics=self.statistics, name=f"{place}_norm")
        x = Conv(x.shape[-1], 1, name=f"{place}_conv")(norm(x, train=train))
        drop = nn.Dropout(self.dropout, deterministic=not train, name=f"{place}_dropout")
        return max_pool(drop(x))
