"""SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo 2021, https://arxiv.org/abs/2105.15203, figure 2

Differs from the paper as the authors' code does: norm and ReLU after the fusion, and dropout before
the head. Their heads are 256 wide on ``mit_b0`` and ``mit_b1``, ``width=768`` on larger encoders.

segmentation_models_pytorch's Segformer is ``SegFormer(k, align_corners=True, dropout=0.0)``, 256
wide on every encoder.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import MiT
from jaxseg.layers import ChannelDropout, Conv, ConvNorm, Head, Kind
from jaxseg.ops import crop, pad_to_least, resize
from jaxseg.types import Names, Paper, Prediction


class SegFormer(nn.Module):
    """Encoder; each feature projected to ``width``, brought to one size and fused; a head.

    The size is that of the finest feature of stride 4 or more. The five coarsest features are
    taken, a finer one than that included, as in segmentation_models_pytorch. ``dropout`` drops
    channels before the head (rng ``dropout``); ``align_corners`` is of the logits alone. Nothing is
    padded but images smaller than the encoder's stride. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
        "Xie",
        2021,
        "https://arxiv.org/abs/2105.15203",
    )

    names: ClassVar[Names] = {
        "segmentation_models_pytorch": (
            *((rf"decoder\.mlp_stage\.{i}\.linear", f"f{4 - i}_project-") for i in range(5)),
            (r"decoder\.fuse_stage\.(?:0|1)", "fusion"),
            (r"segmentation_head\.0", "head!"),
        )
    }

    num_classes: int
    encoder: nn.Module = MiT()
    width: int = 256
    align_corners: bool = False
    dropout: float = 0.1
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: the encoder attends to all of the image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), self.encoder.strides[-1])
        size, padded, strides = image.shape[1:-1], x.shape[1:-1], self.encoder.strides[-5:]
        features = self.encoder(x, train=train)[-5:]
        finest = next((i for i, stride in enumerate(strides) if stride >= 4), len(strides) - 1)
        maps = []
        for i, y in enumerate(reversed(features)):
            y = Conv(self.width, kernel_size=1, name=f"f{4 - i}_project")(y)
            maps.append(resize(y, features[finest].shape[1:-1], "linear"))
        fusion = ConvNorm(self.width, kernel_size=1, norm=self.norm, name="fusion")
        x = fusion(jnp.concatenate(maps, axis=-1), train=train)
        x = ChannelDropout(self.dropout, name="dropout")(x, train=train)
        logits = Head(self.num_classes, name="head")(x)
        logits = resize(logits, padded, "linear", align_corners=self.align_corners)
        return Prediction(crop(logits, size))
