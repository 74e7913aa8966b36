"""V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation.

Milletari, Navab, Ahmadi 2016, https://arxiv.org/abs/1606.04797

``flavor="paper"`` is figure 2, ``"prototxt"`` the network that the authors released for Caffe: a
convolution less at two levels on either way, and a head of two convolutions. MONAI's form is
`MonaiVNet`. Differs from the paper: an image may have any size.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, Conv, ConvADN, Head, Kind, TransposedConv
from jaxseg.layers.adn import activated_as
from jaxseg.ops import crop, pad_to_multiple
from jaxseg.types import Paper, Prediction

DEPTHS = {"paper": (1, 2, 3, 3, 3), "prototxt": (1, 1, 2, 3, 3)}
"""Convolutions of a level by flavor, finest first; those of the way up but the coarsest's."""


class VNet(nn.Module):
    """Residual stacks of 5x5x5 convolutions, strided ones down and transposed ones up between.

    Level l has ``width * 2**l`` features on the way down, and on the way up twice as many, [up,
    skip]. A stack adds its input to its last convolution, and a PReLU follows the sum; the first
    adds the image, its channels in turn until there are ``width`` (in the paper it has one).
    ``depths`` are the convolutions of each level on both ways, finest first; None are the flavor's.
    ``norm`` follows every convolution but the head; the paper has none.

    An image of any size is padded with zeros at the end of each axis to a multiple of ``stride``,
    and cropped. 2-D by the rank of the image.
    """

    paper: ClassVar[Paper] = Paper(
        "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation",
        "Milletari",
        2016,
        "https://arxiv.org/abs/1606.04797",
    )

    num_classes: int
    flavor: Literal["paper", "prototxt"] = "paper"
    width: int = 16
    depths: tuple[int, ...] | None = None
    norm: Kind = "none"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self._depths) - 1)

    @property
    def _depths(self) -> tuple[int, ...]:
        return DEPTHS[self.flavor] if self.depths is None else self.depths

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        check_depths("VNet.depths", self._depths)
        after, skips = ADN(self.norm, "prelu", affine=True, parent=None), []
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        for level, depth in enumerate(self._depths):
            width, name = self.width * 2**level, f"level{level}_down"
            if level:
                x = Shrink(width, after=after, name=f"level{level}_shrink")(x, train=train)
            x = Stack(width, depth, after=after, name=name)(x, train=train)
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(len(skips))):
            width, depth = self.width * 2**level, self._depths[level]
            x = Enlarge(width, after=after, name=f"level{level}_enlarge")(x, train=train)
            x = jnp.concatenate([x, skips[level]], axis=-1)
            x = Stack(2 * width, depth, after=after, name=f"level{level}_up")(x, train=train)
        if self.flavor == "prototxt":
            bare = after.clone(norm="none")
            x = ConvADN(self.num_classes, 5, after=bare, name="head_conv")(x, train=train)
        logits = Head(self.num_classes, name="head")(jnp.asarray(x))
        return Prediction(crop(logits, image.shape[1:-1]))


def check_depths(option: str, depths: tuple[int, ...]) -> None:
    """UserError for less than two levels, or a level without a convolution."""
    fits = len(depths) >= 2 and min(depths) >= 1
    require(fits, option, depths, "of two levels or more, at least 1 each")


class Stack(nn.Module):
    """``activation(x + convs(dropped(x)))`` of ``depth`` 5x5x5 convolutions, ``after`` behind each.

    Where x has fewer channels than features, they are repeated in turn. The activation of ``after``
    follows the last convolution only where it is ``activated`` before the sum; else its norm alone
    does.
    """

    features: int
    depth: int
    activated: bool = False
    dropout: float = 0.0
    use_bias: bool = True
    after: ADN = ADN()

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """A map of the same size."""
        whole = self.after.clone(parent=None, name=None)
        last = whole if self.activated else whole.clone(activation="none")
        y = dropped(x, self.dropout, self.after, "dropout", train=train)
        for i in range(self.depth):
            after = last if i == self.depth - 1 else whole
            conv = ConvADN(self.features, 5, use_bias=self.use_bias, after=after, name=f"conv{i}")
            y = jnp.asarray(conv(y, train=train))
        shortcut = jnp.tile(x, -(-self.features // x.shape[-1]))[..., : self.features]
        return activated_as(self, shortcut + y, self.after)


def dropped(
    x: Float[Array, "b *s c"], rate: float, after: ADN, name: str, *, train: bool
) -> Float[Array, "b *s c"]:
    """A map of which ``after``'s dropout, at that rate, leaves out numbers or channels."""
    dropout = after.copy(norm="none", activation="none", dropout=rate, name=name)
    return jnp.asarray(dropout(x, train=train))


class Shrink(nn.Module):
    """A 2x2x2 convolution of stride 2, and ``after``."""

    features: int
    use_bias: bool = True
    after: ADN = ADN()

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """A map of half the size."""
        x = Conv(self.features, 2, 2, padding=0, use_bias=self.use_bias, name="conv")(x)
        return jnp.asarray(self.after.copy(name="adn")(x, train=train))


class Enlarge(nn.Module):
    """A 2x2x2 transposed convolution of stride 2, and ``after``."""

    features: int
    after: ADN = ADN()

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """A map of twice the size."""
        x = TransposedConv(self.features, name="conv")(x)
        return jnp.asarray(self.after.copy(name="adn")(x, train=train))
