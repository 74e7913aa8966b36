"""MONAI's U-Net: Left-Ventricle Quantification Using Residual U-Net.

Kerfoot, Clough, Oksuz, Lee, King, Schnabel 2018,
https://link.springer.com/chapter/10.1007/978-3-030-12029-0_40; ``monai.networks.nets.UNet``.

Differs from the paper, as MONAI does: the norm is any (the paper's is instance norm), and the last
transposed convolution makes the class scores, to which the last unit adds. Without units
(``units=0``) each is one convolution. MONAI leaves the sides of an image that is no multiple of the
first stride longer than they were; here logits have the size of the image.
"""

import math
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers import ADN, ConvADN, Head, Size
from jaxseg.layers.adn import down_conv, up_conv
from jaxseg.ops import crop, pad_to_multiple, per_axis, product
from jaxseg.types import Names, Paper, Prediction


class MonaiUNet(nn.Module):
    """Strided units down, transposed convolutions and a unit each up, joined [skip, upsampled].

    ``widths`` are the levels', finest first; level i is reached by a stride of ``strides[i]``, of
    one number or one for each axis, and the last one by none. A unit is ``units`` convolutions
    beside a shortcut. ``after`` is copied behind each convolution but the last. 1-D to 3-D by the
    rank of the image, of any size: padded with zeros at the end of each axis to a multiple of
    ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "Left-Ventricle Quantification Using Residual U-Net",
        "Kerfoot",
        2018,
        "https://link.springer.com/chapter/10.1007/978-3-030-12029-0_40",
    )

    num_classes: int
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    strides: tuple[Size, ...] = (2, 2, 2, 2)
    units: int = 2
    kernel_size: Size = 3
    up_kernel_size: Size = 3
    after: nn.Module = ADN()
    use_bias: bool = True
    dtype: str = "float32"

    @property
    def stride(self) -> Size:
        """Sizes that are multiples of this need no padding."""
        return product(self.strides)

    @property
    def names(self) -> Names:
        """Theirs is nested: a level lies in the ``submodule`` of the finer one."""
        last, rows = len(self.widths) - 1, []
        for level in range(last + 1):
            block = "model" + r"\.1\.submodule" * level
            down, up = block if level == last else rf"{block}\.0", rf"{block}\.2"
            if not self.units:
                rows += _conv(down, f"level{level}_down")
                rows += [(rf"{up}\.conv", "head~")] if level == 0 else []
                rows += _conv(up, f"level{level}_up", "~") if 0 < level < last else []
                continue
            rows += _conv(rf"{down}\.conv\.unit(\d+)", rf"level{level}_down.conv\1")
            rows.append((rf"{down}\.residual", f"level{level}_down.shortcut!"))
            if level == last:
                continue
            rows += _conv(rf"{up}\.0", f"level{level}_up", "~")
            unit = rf"{up}\.1\.conv\.unit0"
            rows += _conv(unit, f"level{level}_unit.conv0") if level else []
            rows += [] if level else [(rf"{unit}\.conv", "head!")]
        return {"monai": tuple(rows)}

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check()
        x, skips = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride), []
        for level, (width, stride) in enumerate(zip(self.widths, (*self.strides, 1), strict=True)):
            x = self._down(x, width, stride, f"level{level}_down", train)
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(1, len(skips))):
            x = jnp.concatenate([skips[level], x], axis=-1)
            x = self._up(x, self.widths[level - 1], level, train)
            if self.units:
                x = self._unit(self.widths[level - 1], 1, 1, f"level{level}_unit")(x, train=train)
        x = jnp.concatenate([skips[0], x], axis=-1)
        return Prediction(crop(self._scores(x, train), image.shape[1:-1]))

    def _scores(self, x: Array, train: bool) -> Float[Array, "b *s k"]:
        kernel, stride, rank = self.up_kernel_size, self.strides[0], x.ndim - 2
        if not self.units:
            x = x.astype(jnp.float32)
            return up_conv(self.num_classes, kernel, stride, self.use_bias, rank, "head")(x)
        x = self._up(x, self.num_classes, 0, train)
        head = Head(self.num_classes, self.kernel_size, use_bias=self.use_bias, name="head")
        return x.astype(jnp.float32) + head(x)

    def _down(self, x: Array, width: int, stride: Size, name: str, train: bool) -> Array:
        if self.units:
            return self._unit(width, self.units, stride, name)(x, train=train)
        return self._conv(width, self.kernel_size, stride, name)(x, train=train)

    def _up(self, x: Array, width: int, level: int, train: bool) -> Array:
        up = ConvADN(
            width,
            self.up_kernel_size,
            self.strides[level],
            transposed=True,
            use_bias=self.use_bias,
            after=self.after,
            name=f"level{level}_up",
        )
        return up(x, train=train)

    def _unit(self, width: int, convs: int, stride: Size, name: str) -> "ResidualUnit":
        fields = {"use_bias": self.use_bias, "after": self.after, "name": name}
        return ResidualUnit(width, convs, stride, self.kernel_size, **fields)

    def _conv(self, width: int, kernel_size: Size, stride: Size, name: str) -> ConvADN:
        fields = {"use_bias": self.use_bias, "after": self.after, "name": name}
        return ConvADN(width, kernel_size, stride, **fields)

    def _check(self) -> None:
        if len(self.widths) < 2 or len(self.strides) != len(self.widths) - 1 or self.units < 0:
            raise UserError(
                f"MonaiUNet: widths={self.widths}, strides={self.strides}, units={self.units}; "
                "there must be two widths or more, a stride for each but the last, and no units "
                "or more"
            )


class ResidualUnit(nn.Module):
    """``shortcut(x) + convs(x)``: so many convolutions, the first of which has the stride.

    The shortcut is x itself, a 1x1 convolution where the width changes, or one of the whole kernel
    where the size does.
    """

    features: int
    convs: int = 2
    stride: Size = 1
    kernel_size: Size = 3
    use_bias: bool = True
    after: nn.Module = ADN()

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """The size is divided by the stride, rounding up."""
        y, rank = x, x.ndim - 2
        for i in range(self.convs):
            stride, name = 1 if i else self.stride, f"conv{i}"
            fields = {"use_bias": self.use_bias, "after": self.after, "name": name}
            y = ConvADN(self.features, self.kernel_size, stride, **fields)(y, train=train)
        strided = math.prod(per_axis(self.stride, rank, "stride")) > 1
        if strided or x.shape[-1] != self.features:
            size = self.kernel_size if strided else 1
            x = down_conv(self.features, size, self.stride, self.use_bias, rank, "shortcut")(x)
        return x + y


def _conv(theirs: str, ours: str, mark: str = "!") -> list[tuple[str, str]]:
    """Where a `ConvADN` stands; the ``mark`` says which convolution it has."""
    return [
        (rf"{theirs}\.conv", f"{ours}.conv{mark}"),
        (rf"{theirs}\.adn\.N", f"{ours}.adn.norm!"),
        (rf"{theirs}\.adn\.A", f"{ours}.adn@slope"),
    ]
