"""ESPNetv2: A Light-weight, Power Efficient, and General Purpose Convolutional Neural Network.

Mehta, Rastegari, Shapiro, Hajishirzi 2019, https://arxiv.org/abs/1811.11431, figures 1 to 3

Differs from the paper: nothing known; the segmentation network of the authors' code
(``EESPNet_Seg``) at their largest scale, 2. At scale s the first layer has ``min(32, 32 s)``
channels and level i ``32 s * 2 ** i``; its dropout is 0.1 up to s = 0.5.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require
from jaxseg.layers import ChannelDropout, Conv, ConvNorm, Head, Norm
from jaxseg.layers.activation import activated
from jaxseg.ops import average_pool, crop, pad_to_multiple, resize
from jaxseg.types import Names, Paper, Prediction


def _of_unit(theirs: str, ours: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"{theirs}\.proj_1x1\.conv", f"{ours}.reduce.conv!"),
        (rf"{theirs}\.proj_1x1\.bn", f"{ours}.reduce.norm!"),
        (rf"{theirs}\.proj_1x1\.act", f"{ours}.reduce.norm@slope"),
        (rf"{theirs}\.spp_dw\.(?P<branch>\d)\.conv", rf"{ours}.branch\g<branch>!"),
        (rf"{theirs}\.br_after_cat\.bn", f"{ours}.merge_norm!"),
        (rf"{theirs}\.br_after_cat\.act", f"{ours}.merge_norm@slope"),
        (rf"{theirs}\.conv_1x1_exp\.conv", f"{ours}.expand.conv!"),
        (rf"{theirs}\.conv_1x1_exp\.bn", f"{ours}.expand.norm!"),
        (rf"{theirs}\.module_act", f"{ours}@slope"),
    )


def _conv(theirs: str, ours: str) -> tuple[tuple[str, str], ...]:
    parts = (("conv", ".conv!"), ("bn", ".norm!"), ("act", ".norm@slope"))
    return tuple((rf"{theirs}\.{part}", ours + ending) for part, ending in parts)


class ESPNetV2(nn.Module):
    """Levels of EESP units; the two coarsest meet in a pyramid of poolings, class scores go up.

    ``widths`` are those of the first convolution and of the levels after it, each half the size of
    the one before; ``depths`` the units of these levels after the one that halves their size. Each
    halving adds what two convolutions make of the image, averaged to that size. Scores of the last
    level but one join the finer ones; between them corners are aligned. They are in ``auxiliary``
    too. ``branches`` are those of a unit (the paper's K), ``pools`` the pyramid's. ``dropout``
    drops channels before both score layers. ``idle_slopes`` keeps those that the authors' code has
    in the unit of each halving and never computes with, so that their weights fit. 2-D and 3-D by
    the rank of the image, of any size: padded with zeros at the end of each axis to a multiple of
    ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "ESPNetv2: A Light-weight, Power Efficient, and General Purpose Convolutional Neural "
        "Network",
        "Mehta",
        2019,
        "https://arxiv.org/abs/1811.11431",
    )

    names: ClassVar[Names] = {
        "sacmehta/ESPNetv2": (
            *_conv(r"net\.level1", "level1_conv"),
            *_of_unit(r"net\.level(\d)_0\.eesp", r"level\1_down.unit"),
            *_conv(r"net\.level(\d)_0\.inp_reinf\.0", r"level\1_down.image_conv"),
            *_conv(r"net\.level(\d)_0\.inp_reinf\.1", r"level\1_down.image_expand"),
            (r"net\.level(\d)_0\.act", r"level\1_down@slope"),
            *_of_unit(r"net\.level(\d)\.(\d)", r"level\1_unit\2"),
            *_conv(r"proj_L4_C", "level4_project"),
            *_of_unit(r"pspMod\.0", "level3_merge"),
            (r"pspMod\.1\.stages\.(\d)\.conv", r"pyramid.stage\1!"),
            *_conv(r"pspMod\.1\.project", "pyramid.project"),
            (r"project_l3\.1\.conv", "level3_head!"),
            (r"act_l3\.bn", "level3_norm!"),
            (r"act_l3\.act", "level3_norm@slope"),
            *_conv(r"project_l2", "level2_project"),
            (r"project_l1\.1\.conv", "head!"),
        )
    }

    num_classes: int
    widths: tuple[int, ...] = (32, 128, 256, 512)
    depths: tuple[int, ...] = (0, 3, 7)
    branches: int = 4
    pools: int = 4
    dropout: float = 0.2
    idle_slopes: bool = False
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** len(self.widths)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, count = image.shape[1:-1], len(self.widths)
        if count < 3 or len(self.depths) != count - 1:
            raise UserError(
                f"ESPNetV2: widths={self.widths}, depths={self.depths}; there must be three widths "
                "or more, and a depth for each but the first"
            )
        padded = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        *finer, before, last = self._encoded(padded, train)
        x = self._conv(before.shape[-1], f"level{count}_project")(last, train=train)
        x = jnp.concatenate([before, _enlarged(x, before)], axis=-1)
        merge = EESP(before.shape[-1], self._rates(7), name=f"level{count - 1}_merge")
        x = PooledPyramid(self.pools, name="pyramid")(merge(x, train=train), train=train)
        coarse = self._scores(x, f"level{count - 1}", train)
        x = Norm(activation="prelu", name=f"level{count - 1}_norm")(coarse, train=train)
        for level in reversed(range(2, count - 1)):
            feature = finer[level - 1]
            x = jnp.concatenate([feature, _enlarged(x, feature)], axis=-1)
            x = self._conv(self.num_classes, f"level{level}_project")(x, train=train)
        x = jnp.concatenate([finer[0], _enlarged(x, finer[0])], axis=-1)
        x = ChannelDropout(self.dropout, name="head_dropout")(x, train=train)
        logits = Head(self.num_classes, use_bias=False, name="head")(x)
        coarse = coarse.astype(jnp.float32)
        for halvings in reversed(range(count - 1)):  # as the authors do; all at once differs
            to = tuple(n // 2**halvings for n in padded.shape[1:-1])
            coarse = resize(coarse, to, "linear", align_corners=True)
        return Prediction(crop(_enlarged(logits, padded), size), (crop(coarse, size),))

    def _encoded(self, image: Array, train: bool) -> list[Float[Array, "b ..."]]:
        """The map of each level, finest first."""
        stem = self._conv(self.widths[0], "level1_conv", kernel_size=3, stride=2)
        maps = [stem(image, train=train)]
        image = average_pool(image, 3, stride=2, padding=1)
        for level, (width, depth) in enumerate(
            zip(self.widths[1:], self.depths, strict=True), start=2
        ):
            image = average_pool(image, 3, stride=2, padding=1)
            rates, name = self._rates(17 - 2 * level), f"level{level}_down"
            halving = Halving(width, rates, self.idle_slopes, name=name)
            x = halving(maps[-1], image, train=train)
            for i in range(depth):
                unit = EESP(width, self._rates(15 - 2 * level), name=f"level{level}_unit{i}")
                x = unit(x, train=train)
            maps.append(x)
        return maps

    def _rates(self, limit: int) -> tuple[int, ...]:
        require(self.branches >= 1, "ESPNetV2.branches", self.branches, "at least 1")
        return dilations(limit, self.branches)

    def _scores(self, x: Array, place: str, train: bool) -> Float[Array, "b *s k"]:
        x = ChannelDropout(self.dropout, name=f"{place}_dropout")(x, train=train)
        return Conv(self.num_classes, 1, use_bias=False, name=f"{place}_head")(x)

    def _conv(self, features: int, name: str, *, kernel_size: int = 1, stride: int = 1) -> ConvNorm:
        return ConvNorm(features, kernel_size, stride, activation="prelu", name=name)


class EESP(nn.Module):
    """Extremely efficient spatial pyramid: grouped 1x1, depthwise dilated 3x3, grouped 1x1.

    Figure 1c. Each branch is added to the next one before all are joined. x is added where the
    result is of its shape; then PReLU. ``activation="none"`` leaves both to `Halving`, and so does
    "idle", with slopes that nothing reads.
    """

    features: int
    rates: tuple[int, ...]
    stride: int = 1
    activation: Literal["prelu", "none", "idle"] = "prelu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """Raises UserError where channels or features do not divide into the branches."""
        branches = len(self.rates)
        unit = branches**2  # branches, and as many groups in what each of them sees
        if self.features % unit or x.shape[-1] % branches:
            raise UserError(
                f"ESPNetV2 {'/'.join(self.path)}: {x.shape[-1]} channels to {self.features} "
                f"features; widths must be multiples of {unit}"
            )
        narrow = self.features // branches
        reduce = ConvNorm(narrow, 1, groups=branches, activation="prelu", name="reduce")
        y, maps = reduce(x, train=train), []
        for i, rate in enumerate(self.rates):
            conv = Conv(
                narrow,
                stride=self.stride,
                dilation=rate,
                groups=narrow,
                use_bias=False,
                name=f"branch{i}",
            )
            maps.append(conv(y) + maps[-1] if maps else conv(y))
        y = jnp.concatenate(maps, axis=-1)
        y = Norm(activation="prelu", name="merge_norm")(y, train=train)
        expand = ConvNorm(self.features, 1, groups=branches, activation="none", name="expand")
        y = expand(y, train=train)
        if self.activation == "idle":
            self.param("slope", nn.initializers.constant(0.25), (self.features,), jnp.float32)
        if self.activation != "prelu":
            return y
        return activated(self, x + y if self.stride == 1 and x.shape == y.shape else y, "prelu")


class Halving(nn.Module):
    """Strided EESP: x averaged, beside a strided unit, plus what the shrunken image says.

    Figure 2. The average keeps the channels of x, the unit makes the rest of ``features``.
    """

    features: int
    rates: tuple[int, ...]
    idle_slopes: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], image: Float[Array, "b *t d"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """Half the size. Raises UserError where ``features`` are no more than the channels."""
        more = self.features - x.shape[-1]
        if more < 1:
            raise UserError(
                f"ESPNetV2 {'/'.join(self.path)}: {x.shape[-1]} channels to {self.features}; "
                "widths must grow"
            )
        activation = "idle" if self.idle_slopes else "none"
        unit = EESP(more, self.rates, stride=2, activation=activation, name="unit")
        averaged = average_pool(x, 3, stride=2, padding=1)
        y = jnp.concatenate([averaged, unit(x, train=train)], axis=-1)
        conv = ConvNorm(image.shape[-1], activation="prelu", name="image_conv")
        expand = ConvNorm(self.features, 1, activation="none", name="image_expand")
        y = y + expand(conv(image, train=train), train=train)
        return activated(self, y, "prelu")


class PooledPyramid(nn.Module):
    """x beside depthwise convolutions of it, pooled to a half and less, joined by a 1x1."""

    stages: int

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """Size and channels stay."""
        maps, pooled, channels = [x], x, x.shape[-1]
        for i in range(self.stages):
            pooled = average_pool(pooled, 3, stride=2, padding=1)
            stage = Conv(channels, groups=channels, use_bias=False, name=f"stage{i}")
            maps.append(_enlarged(stage(pooled), x))
        project = ConvNorm(channels, 1, activation="prelu", name="project")
        return project(jnp.concatenate(maps, axis=-1), train=train)


def dilations(limit: int, branches: int = 4) -> tuple[int, ...]:
    """The branches' rates where a kernel may span ``limit`` pixels, smallest first.

    They span 3, 5, 7, 9 and so on; one that would span more is not dilated.
    """
    spans = (3 + 2 * i for i in range(branches))
    return tuple(sorted((span - 1) // 2 if span <= limit else 1 for span in spans))


def _enlarged(x: Array, like: Array) -> Float[Array, "b ..."]:
    return resize(x, like.shape[1:-1], "linear", align_corners=True)
