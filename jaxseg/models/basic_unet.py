"""MONAI's basic U-Net: U-Net - Deep Learning for Cell Counting, Detection, and Morphometry.

Falk et al. 2019, https://doi.org/10.1038/s41592-018-0261-2; ``monai.networks.nets.BasicUNet``.

Differs from the paper, as MONAI does: padded convolutions with a norm each, by default an instance
norm and a leaky ReLU; half of the channels of a map, where it is enlarged, but the finest. An axis
of an odd length loses its last pixel on the way down, and has its new last one doubled on the way
up.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers import ADN, Conv, ConvADN, Head, TransposedConv
from jaxseg.ops import average_pool, crop, max_pool, pad_to_least, pixel_shuffle, resize
from jaxseg.types import Names, Paper, Prediction

LEAKY = ADN(affine=True, activation="leaky_relu", negative_slope=0.1)
"""What follows each convolution in MONAI."""

Enlarged = Literal["transpose", "linear", "shuffle"]
"""``linear`` has aligned corners; ``shuffle`` is a pixel shuffle, averaged over 2 pixels a side."""


class BasicUNet(nn.Module):
    """Pairs of convolutions, halved by max pooling, enlarged by ``upsample``, joined [skip, up].

    ``widths`` are the levels', finest first, and ``last_width`` that of the finest map on the way
    up. 1-D to 3-D by the rank of the image, of any size; one below ``stride`` is padded with zeros
    at the end of the axis up to it, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "U-Net: Deep Learning for Cell Counting, Detection, and Morphometry",
        "Falk",
        2019,
        "https://doi.org/10.1038/s41592-018-0261-2",
    )

    names: ClassVar[Names] = {
        "monai": (
            (r"conv_0\.conv_(\d)\.conv", r"level0.conv\1.conv!"),
            (r"conv_0\.conv_(\d)\.adn\.N", r"level0.conv\1.adn.norm!"),
            (r"conv_0\.conv_(\d)\.adn\.A", r"level0.conv\1.adn@slope"),
            (r"down_(\d+)\.convs\.conv_(\d)\.conv", r"level\1.conv\2.conv!"),
            (r"down_(\d+)\.convs\.conv_(\d)\.adn\.N", r"level\1.conv\2.adn.norm!"),
            (r"down_(\d+)\.convs\.conv_(\d)\.adn\.A", r"level\1.conv\2.adn@slope"),
            (r"upcat_(\d+)\.upsample\.deconv", r"up\1.enlarge~"),
            (r"upcat_(\d+)\.upsample\.preconv", r"up\1.project!"),
            (r"upcat_(\d+)\.upsample\.pixelshuffle\.conv_block", r"up\1.spread!"),
            (r"upcat_(\d+)\.convs\.conv_(\d)\.conv", r"up\1.merge.conv\2.conv!"),
            (r"upcat_(\d+)\.convs\.conv_(\d)\.adn\.N", r"up\1.merge.conv\2.adn.norm!"),
            (r"upcat_(\d+)\.convs\.conv_(\d)\.adn\.A", r"up\1.merge.conv\2.adn@slope"),
            (r"final_conv", "head!"),
        )
    }

    num_classes: int
    widths: tuple[int, ...] = (32, 32, 64, 128, 256)
    last_width: int = 32
    upsample: Enlarged = "transpose"
    after: nn.Module = LEAKY
    use_bias: bool = True
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this keep every pixel."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        check_widths("BasicUNet", self.widths)
        size, fields = image.shape[1:-1], {"use_bias": self.use_bias, "after": self.after}
        x, skips = pad_to_least(jnp.asarray(image, self.dtype), self.stride), []
        for level, width in enumerate(self.widths):
            x = max_pool(x) if level else x
            x = TwoConvs(width, **fields, name=f"level{level}")(x, train=train)
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(1, len(self.widths))):
            finest = level == 1
            up = Joined(
                self.last_width if finest else self.widths[level - 1],
                halved=not finest,
                upsample=self.upsample,
                **fields,
                name=f"up{level}",
            )
            x = up(x, (skips[level - 1],), train=train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), size))


def check_widths(network: str, widths: tuple[int, ...]) -> None:
    """UserError for fewer than two levels, or a coarser one that cannot be halved in channels."""
    if len(widths) < 2 or min(widths[2:], default=2) < 2:
        raise UserError(
            f"{network}: widths={widths}; there must be two levels or more, of two channels or "
            "more from the third one on, which are halved"
        )


class TwoConvs(nn.Module):
    """Two 3x3 convolutions, each with a copy of ``after``."""

    features: int
    use_bias: bool = True
    after: nn.Module = LEAKY

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """The size stays."""
        for i in range(2):
            conv = ConvADN(self.features, use_bias=self.use_bias, after=self.after, name=f"conv{i}")
            x = conv(x, train=train)
        return x


class Joined(nn.Module):
    """``x`` twice as large, behind the maps that it joins, and two convolutions of both.

    The enlarged map has the channels of x, or half of them where ``halved``.
    """

    features: int
    halved: bool = True
    upsample: Enlarged = "transpose"
    use_bias: bool = True
    after: nn.Module = LEAKY

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], skips: tuple[Float[Array, "b *t _"], ...], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """A map of the size of ``skips``, which is twice that of x, or a pixel more."""
        x = self._enlarged(x, x.shape[-1] // 2 if self.halved else x.shape[-1])
        x = _continued(x, skips[0].shape[1:-1])
        merge = TwoConvs(self.features, self.use_bias, self.after, name="merge")
        return merge(jnp.concatenate([*skips, x], axis=-1), train=train)

    def _enlarged(self, x: Array, width: int) -> Float[Array, "b ..."]:
        rank = x.ndim - 2
        if self.upsample == "transpose":
            return TransposedConv(width, name="enlarge")(x)
        if self.upsample == "linear":
            x = x if width == x.shape[-1] else Conv(width, 1, name="project")(x)
            return resize(x, tuple(2 * n for n in x.shape[1:-1]), "linear", align_corners=True)
        return shuffled(Conv(width * 2**rank, name="spread")(x))


def shuffled(x: Float[Array, "b *s c"]) -> Float[Array, "b *t k"]:
    """Channels as pixels, twice as many an axis, each averaged with those before it.

    Checkerboard artifact free sub-pixel convolution, Aitken et al. 2017,
    https://arxiv.org/abs/1707.02937; zeros precede the first pixel.
    """
    x = pixel_shuffle(x, 2)
    edges = [(0, 0, 0), *[(1, 0, 0)] * (x.ndim - 2), (0, 0, 0)]
    return average_pool(jax.lax.pad(x, jnp.zeros((), x.dtype), edges), 2, stride=1)


def _continued(x: Array, size: tuple) -> Float[Array, "b ..."]:
    """The map with its last pixel once more along each axis that is a pixel longer in ``size``."""
    for axis, n in enumerate(size, start=1):
        if x.shape[axis] != n:
            last = jax.lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
            x = jax.lax.slice_in_dim(jnp.concatenate([x, last], axis=axis), 0, n, axis=axis)
    return x
