"""Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs: DeepLab v1.

Chen, Papandreou, Kokkinos, Murphy, Yuille 2015, https://arxiv.org/abs/1412.7062

Differs from the released network: in training logits are enlarged to the labels, where it takes
every eighth label; the classifier is drawn as every other layer is, not from N(0, 0.01). The CRF
belongs to evaluation: `jaxseg.crf`.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import VGG
from jaxseg.layers import Conv, Head
from jaxseg.ops import average_pool, crop, pad_to_least, resize
from jaxseg.types import Names, Paper, Prediction

CAFFE = tuple(
    (rf"conv{level}_{i}", f"encoder.level{level - 1}_conv{i}.conv!")
    for level, convs in enumerate((2, 2, 3, 3, 3), start=1)
    for i in range(1, convs + 1)
)
"""What the released networks call the convolutions of VGG16."""


class DeepLabV1(nn.Module):
    """VGG16 at stride 8, fully connected layers as convolutions with holes, linear upsampling.

    ``kernel_size``, ``dilation`` and ``hidden`` are those of fc6; ``hidden`` also that of fc7. The
    default is LargeFOV; the paper's other three (table 2) are ``(7, 4, 4096)``, ``(4, 4, 4096)``
    and, with the field of view of the first, ``(4, 8, 4096)``.

    ``smoothing="average"`` is 3x3 average pooling before fc6, as LargeFOV was released (recalled,
    not read); ``none`` leaves it out. Images are padded at their ends to 8 n + 1 pixels, so that
    the encoder's last feature stands on pixels 0, 8, 16 and so on; logits are interpolated between.
    ``dropout``, after fc6 and fc7, needs the rng ``dropout``.
    """

    paper: ClassVar[Paper] = Paper(
        "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs",
        "Chen",
        2015,
        "https://arxiv.org/abs/1412.7062",
    )

    names: ClassVar[Names] = {"caffe": (*CAFFE, (r"(fc[67])", r"\1!"), (r"fc8\w*", "head!"))}

    num_classes: int
    encoder: nn.Module = VGG(16, output_stride=8, pool="ceil", pool_size=3)
    kernel_size: int = 3
    dilation: int = 12
    hidden: int = 1024
    smoothing: Literal["average", "none"] = "average"
    dropout: float = 0.5
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: the maps have a row more than an eighth of the image's."""

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b h w c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size = image.shape[1:-1]
        image = padded(jnp.asarray(image, self.dtype), self.encoder.strides[-1])  # pyright: ignore
        x = self.encoder(image, train=train)[-1]
        if self.smoothing == "average":
            x = average_pool(x, 3, stride=1, padding=1)
        for name, window, dilation in (
            ("fc6", self.kernel_size, self.dilation),
            ("fc7", 1, 1),
        ):
            x = nn.relu(Conv(self.hidden, window, dilation=dilation, name=name)(x))
            drop = nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_dropout")
            x = drop(x)
        logits = Head(self.num_classes, name="head")(x)
        logits = resize(logits, image.shape[1:-1], "linear", align_corners=True)
        return Prediction(crop(logits, size))


def padded(x: Float[Array, "b h w c"], stride: int, least: int = 1) -> Float[Array, "b t u c"]:
    """The image with zeros at the end of each axis, to ``n stride + 1``, n at least ``least``."""
    x = pad_to_least(x, stride * least + 1)
    sizes = tuple(stride * ((n + stride - 2) // stride) + 1 for n in x.shape[1:-1])
    if sizes == x.shape[1:-1]:
        return x
    edges = [(0, m - n, 0) for n, m in zip(x.shape[1:-1], sizes, strict=True)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
