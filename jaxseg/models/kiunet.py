"""KiU-Net: Towards Accurate Segmentation of Biomedical Images using Over-complete Representations.

Valanarasu, Sindagi, Hacihaliloglu, Patel 2020, https://arxiv.org/abs/2006.04878, figure 2;
in 3-D, and with residual and dense blocks: https://arxiv.org/abs/2010.01663

Differs from the paper: nothing known. Its released code ends in a ReLU of the logits, which is
``head_activation="relu"``; it holds two convolutions that never run, so it counts 290,658
parameters where 216,546 have a part in the output. ``block="residual"`` is its ``reskiunet``, but
for the first layer of the Ki branch, whose shortcut the code computes and drops; ``block="dense"``
its ``densekiunet``. In 3-D the authors' networks for BraTS and LiTS have a shallower Ki branch;
this is the network of figure 2 at rank 3.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers import Conv, ConvNorm, Head, Norm
from jaxseg.layers.activation import activated
from jaxseg.ops import crop, enlarge, max_pool, pad_to_multiple, resize
from jaxseg.types import Names, Paper, Prediction

Block = Literal["plain", "residual", "dense"]


def _of_authors() -> tuple[tuple[str, str], ...]:
    """They count layers from 1 along each branch; ``f`` is the Ki branch, ``inter`` between."""
    rows = []
    for i in (1, 2, 3):
        for theirs, ours in (("en", f"encoder{i - 1}"), ("de", f"decoder{3 - i}")):
            for f, branch in (("", "u"), ("f", "ki")):
                rows.append((f"{theirs}coder{f}{i}", f"{branch}_{ours}.conv!"))
                rows.append((f"{theirs}{f}{i}_bn", f"{branch}_{ours}.norm!"))
            for number, way in ((1, "to_u"), (2, "to_ki")):
                rows.append((f"inter{theirs[0]}{i}_{number}", f"{ours}_fusion.{way}.conv!"))
                rows.append((f"int{theirs[0]}{i}_{number}bn", f"{ours}_fusion.{way}.norm!"))
    return tuple(rows) + (("final", "head!"),)


class KiUNet(nn.Module):
    """A branch that shrinks as a U-Net does, one that grows beyond the image, and their fusion.

    ``widths`` are those of the layers that shrink (or grow), finest first; the way back mirrors
    them and ends at ``last_width``. After each layer but the last each branch takes from the
    other, and on the way back it adds its own map of that size. The Ki branch's largest map has
    ``2 ** len(widths)`` times the image's edge: with three layers 64 times its pixels in 2-D, 512
    times in 3-D. 2-D and 3-D by the rank of the image, of any size: padded with zeros at the end
    of each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "KiU-Net: Towards Accurate Segmentation of Biomedical Images using Over-complete "
        "Representations",
        "Valanarasu",
        2020,
        "https://arxiv.org/abs/2006.04878",
    )

    names: ClassVar[Names] = {"jeya-maria-jose/KiU-Net-pytorch": _of_authors()}

    num_classes: int
    widths: tuple[int, ...] = (16, 32, 64)
    last_width: int = 8
    block: Block = "plain"
    head_activation: Literal["none", "relu"] = "none"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** len(self.widths)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, skips = image.shape[1:-1], []
        u = ki = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        for level, width in enumerate(self.widths):
            place = f"encoder{level}"
            u = BranchLayer(width, "shrink", self.block, name=f"u_{place}")(u, train=train)
            ki = BranchLayer(width, "grow", self.block, name=f"ki_{place}")(ki, train=train)
            u, ki = CrossFusion(name=f"{place}_fusion")(u, ki, train=train)
            skips.append((u, ki))
        for level in reversed(range(len(self.widths))):
            place, width = f"decoder{level}", (self.last_width, *self.widths)[level]
            u = BranchLayer(width, "grow", self.block, name=f"u_{place}")(u, train=train)
            ki = BranchLayer(width, "shrink", self.block, name=f"ki_{place}")(ki, train=train)
            if level:
                u, ki = CrossFusion(name=f"{place}_fusion")(u, ki, train=train)
                u, ki = u + skips[level - 1][0], ki + skips[level - 1][1]
        logits = Head(self.num_classes, name="head")(u + ki)
        return Prediction(crop(activated(self, logits, self.head_activation), size))


class BranchLayer(nn.Module):
    """``relu(norm(resized(conv(x))))``: half the size by maxima, or twice the size, linearly.

    ``residual`` adds a 1x1 convolution of x before the size changes; ``dense`` passes what was
    convolved through `SharedNormDense`.
    """

    features: int
    way: Literal["shrink", "grow"]
    block: Block = "plain"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """A map with each axis half or twice as long."""
        y = Conv(self.features, name="conv")(x)
        if self.block == "residual":
            y = y + Conv(self.features, 1, name="shortcut")(x)
        elif self.block == "dense":
            y = SharedNormDense(name="dense")(y, train=train)
        y = max_pool(y) if self.way == "shrink" else enlarge(y, 2, "linear")
        return Norm(activation="relu", name="norm")(y, train=train)


class CrossFusion(nn.Module):
    """Cross residual fusion block: each map plus the other, convolved and brought to its size.

    Figure 2c. Linear interpolation both ways; on the way down it sees two pixels an axis, and
    none of those between.
    """

    @nn.compact
    def __call__(
        self, u: Float[Array, "b *s c"], ki: Float[Array, "b *t c"], *, train: bool
    ) -> tuple[Float[Array, "b *s c"], Float[Array, "b *t c"]]:
        """Both maps as they came, enriched."""
        to_u = ConvNorm(u.shape[-1], use_bias=True, name="to_u")(ki, train=train)
        to_ki = ConvNorm(ki.shape[-1], use_bias=True, name="to_ki")(u, train=train)
        # the Ki branch's factor is up to 64: shifts and sums, as `enlarge` has them, are too many
        to_u, to_ki = (resize(y, x.shape[1:-1], "linear") for y, x in ((to_u, u), (to_ki, ki)))
        return u + to_u, ki + to_ki


class SharedNormDense(nn.Module):
    """``x + [d1, d2, d3, d4]``: each is 1x1, then 3x3 to a quarter of x, of x and those before it.

    A norm and a ReLU follow each convolution, and as in the authors' code all four 1x1 share one
    norm and all four 3x3 another, so that their running moments move four times a step.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """Size and channels stay. Raises UserError where four do not divide the channels."""
        channels, maps = x.shape[-1], []
        if channels % 4:
            raise UserError(
                f"KiUNet: block='dense' has widths in quarters, and {channels} is no multiple of 4"
            )
        wide_norm = Norm(activation="relu", name="wide_norm")
        narrow_norm = Norm(activation="relu", name="narrow_norm")
        for i in range(4):
            y = Conv(channels, 1, name=f"wide_conv{i}")(jnp.concatenate([x, *maps], axis=-1))
            y = Conv(channels // 4, name=f"narrow_conv{i}")(wide_norm(y, train=train))
            maps.append(narrow_norm(y, train=train))
        return x + jnp.concatenate(maps, axis=-1)
