"""LinkNet: Exploiting Encoder Representations for Efficient Semantic Segmentation.

Chaurasia, Culurciello 2017, https://arxiv.org/abs/1707.03718, figures 1 and 2, table 1

Differs from the paper: nothing known; convolutions before a norm have no bias.

segmentation_models_pytorch's Linknet is ``form="smp"``: one more decoder block, which starts from
the sum with the stem's feature as it is (the paper pools it first), kernels of 4 with a bias, and
a 1x1 convolution as head.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.layers import ConvNorm, Head, Kind, Norm, TransposedConv
from jaxseg.ops import crop, max_pool, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

_BLOCKS = tuple(
    pair
    for i in range(5)
    for pair in (
        (rf"decoder\.blocks\.{i}\.block\.0\.(?:0|1)", f"decoder{4 - i}_reduce"),
        (rf"decoder\.blocks\.{i}\.block\.1\.0", f"decoder{4 - i}_up~"),
        (rf"decoder\.blocks\.{i}\.block\.1\.1", f"decoder{4 - i}_norm!"),
        (rf"decoder\.blocks\.{i}\.block\.2\.(?:0|1)", f"decoder{4 - i}_expand"),
    )
)


class LinkNet(nn.Module):
    """Encoder; decoder blocks, each added to the encoder's feature of its size; the logits.

    A block reduces the channels to a quarter (1x1), enlarges (transposed convolution) and projects
    to the width of what it is added to (1x1), with norm and ReLU after each. The last block of
    the encoder meets ``decoder4``. The paper's ``decoder1`` is added to the stem's feature, pooled
    as the encoder pools it, where there is one; ``width`` is that of what comes before the logits.
    Sizes are padded with zeros at the end of each axis to a multiple of ``stride``, and cropped.
    Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "LinkNet: Exploiting Encoder Representations for Efficient Semantic Segmentation",
        "Chaurasia",
        2017,
        "https://arxiv.org/abs/1707.03718",
    )

    names: ClassVar[Names] = {
        "segmentation_models_pytorch": (*_BLOCKS, (r"segmentation_head\.0", "head!"))
    }

    num_classes: int
    encoder: nn.Module = ResNet(18)
    form: Literal["paper", "smp"] = "paper"
    width: int = 32
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, strides = image.shape[1:-1], self.encoder.strides
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        features = self.encoder(x, train=train)
        logits = self._paper if self.form == "paper" else self._smp
        return Prediction(crop(logits(features, strides, train), size))

    def _paper(
        self, features: tuple[Array, ...], strides: tuple[int, ...], train: bool
    ) -> Float[Array, "b *s k"]:
        blocks, fine = features[-4:], strides[-4:][0]
        x = self._decoded(blocks, strides[-4:], train)
        first = 4 - (len(blocks) - 1)  # 1, unless the encoder has few features
        if len(features) > 4:
            factor = fine // strides[-5]
            stem = max_pool(features[-5], 3, stride=factor, padding=1)
            x = stem + self._block(x, stem.shape[-1], 1, f"decoder{first}", train)
        else:
            x = self._block(x, x.shape[-1], 1, f"decoder{first}", train)
        # Up to full resolution in two steps, of which the last doubles.
        last = min(fine, 2)
        x = self._up(x, self.width, fine // last, "final_up", train)
        x = ConvNorm(self.width, norm=self.norm, name="final_conv")(x, train=train)
        head = TransposedConv(self.num_classes, stride=last, name="head")
        return head(x.astype(jnp.float32))

    def _smp(
        self, features: tuple[Array, ...], strides: tuple[int, ...], train: bool
    ) -> Float[Array, "b *s k"]:
        features, strides = features[-5:], strides[-5:]
        x = self._decoded(features, strides, train)
        place = f"decoder{4 - (len(features) - 1)}"
        x = self._block(x, self.width, strides[0], place, train)
        return Head(self.num_classes, name="head")(x)

    def _decoded(
        self, features: tuple[Array, ...], strides: tuple[int, ...], train: bool
    ) -> Float[Array, "b ..."]:
        """The coarsest feature, decoded and added to each of the finer ones in turn."""
        x = features[-1]
        for i in reversed(range(len(features) - 1)):
            place = f"decoder{4 - (len(features) - 2 - i)}"
            factor, skip = strides[i + 1] // strides[i], features[i]
            x = skip + self._block(x, skip.shape[-1], factor, place, train)
        return x

    def _block(
        self, x: Array, features: int, factor: int, place: str, train: bool
    ) -> Float[Array, "b *s k"]:
        narrow = max(x.shape[-1] // 4, 1)
        reduce = ConvNorm(narrow, kernel_size=1, norm=self.norm, name=f"{place}_reduce")
        x = self._up(reduce(x, train=train), narrow, factor, place, train)
        expand = ConvNorm(features, kernel_size=1, norm=self.norm, name=f"{place}_expand")
        return expand(x, train=train)

    def _up(
        self, x: Array, features: int, factor: int, place: str, train: bool
    ) -> Float[Array, "b *s k"]:
        """Exactly ``factor`` times as large, 1 included."""
        smp = self.form == "smp"
        up = TransposedConv(
            features,
            stride=factor,
            kernel_size=factor + 2 if smp else 3,
            padding=1,
            output_padding=0 if smp else factor - 1,
            use_bias=smp or self.norm == "none",
            name=place if place.endswith("up") else f"{place}_up",
        )
        norm = Norm(self.norm, activation="relu", name=f"{place}_norm")
        return norm(up(x), train=train)
