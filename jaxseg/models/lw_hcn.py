"""Light-Weight Hybrid Convolutional Network for Liver Tumor Segmentation.

Zhang, Xie, Zhang, Chen, Xia, Shen 2019, https://doi.org/10.24963/ijcai.2019/593

**An approximation, unverified**: no code and no table of layers was found. From the paper are one
encoder and decoder, 2-D convolutions in the first levels of the encoder and 3-D ones elsewhere, and
the factorised 3-D convolution. Recalled, not checked, are its three parts. Ours, for want of the
paper's: widths, depth, the number of convolutions, where norms stand, pooling, the decoder's form.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import Conv, ConvNorm, Head, Norm, TransposedConv
from jaxseg.ops import Size, crop, max_pool, pad_to_multiple
from jaxseg.types import Paper, Prediction


class LWHCN(nn.Module):
    """A U-Net: 2-D convolutions in the ``flat`` finest levels of the encoder, `DSTS` elsewhere.

    The last axis of a volume is that of the slices, as in a NIfTI file: 2-D convolutions have one
    tap there, and only the levels below the first 3-D one halve it. Each level has ``convs`` of
    either kind on each side. Up by transposed convolutions, joined [upsampled, skip]. An image is
    a slice: all convolutions are the 2-D parts of those of a volume.
    """

    paper: ClassVar[Paper] = Paper(
        "Light-Weight Hybrid Convolutional Network for Liver Tumor Segmentation",
        "Zhang",
        2019,
        "https://doi.org/10.24963/ijcai.2019/593",
    )

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    flat: int = 2
    convs: int = 2
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding; of slices, fewer do."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size. Raises UserError for impossible fields."""
        self._check()
        volume, last = image.ndim == 5, len(self.widths) - 1
        steps: list[Size] = [(2, 2, 1) if volume and i < self.flat else 2 for i in range(last)]
        deep = 2 ** max(last - self.flat, 0)
        stride = (self.stride, self.stride, deep) if volume else self.stride
        x = pad_to_multiple(jnp.asarray(image, self.dtype), stride)
        skips = []
        for level, width in enumerate(self.widths):
            x = max_pool(x, steps[level - 1]) if level else x
            for i in range(self.convs):
                name = f"level{level}_down{i + 1}"
                if level < self.flat:
                    kernel = (3, 3, 1) if volume else 3
                    x = ConvNorm(width, kernel, name=name)(x, train=train)
                else:
                    x = DSTS(width, name=name)(x, train=train)
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(last)):
            up = TransposedConv(self.widths[level], steps[level], name=f"level{level}_enlarge")
            x = jnp.concatenate([up(x), skips.pop()], axis=-1)
            for i in range(self.convs):
                x = DSTS(self.widths[level], name=f"level{level}_up{i + 1}")(x, train=train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), image.shape[1:-1]))

    def _check(self) -> None:
        require(len(self.widths) > 0, "LWHCN.widths", self.widths, "one number or more")
        what = f"in [0, {len(self.widths)}], for widths={self.widths}"
        require(0 <= self.flat <= len(self.widths), "LWHCN.flat", self.flat, what)
        require(self.convs >= 1, "LWHCN.convs", self.convs, "at least 1")


class DSTS(nn.Module):
    """Depthwise spatiotemporal separable: 3x3 within slices, 3 across them, 1x1 over channels.

    Norm and ReLU follow the last alone. Of an image there is nothing to look across.
    """

    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """The size stays."""
        kernels: dict[str, Size] = {"within": 3}
        if x.ndim == 5:
            kernels = {"within": (3, 3, 1), "across": (1, 1, 3)}
        for name, kernel in kernels.items():
            x = Conv(x.shape[-1], kernel, groups=x.shape[-1], use_bias=False, name=name)(x)
        x = Conv(self.features, 1, use_bias=False, name="pointwise")(x)
        return Norm(activation="relu", name="norm")(x, train=train)
