"""A Partially Reversible U-Net for Memory-Efficient Volumetric Image Segmentation.

Brügger, Baumgartner, Konukoglu 2019, https://arxiv.org/abs/1906.06148

As in the authors' code, ``block="plain"`` and ``widths=(30, 60, 120, 240, 480)`` are the baseline
of the paper, Isensee et al.'s No New-Net (https://arxiv.org/abs/1809.10483). Differs from the code:
logits, without its sigmoid of three regions that overlap; an image may have any size.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require
from jaxseg.layers import ADN, Conv, ConvADN, Head
from jaxseg.layers.reversible import Backward, PreactivatedConv, ReversibleSequence
from jaxseg.ops import crop, enlarge, max_pool, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

AUTHORS = "RobinBruegger/PartiallyReversibleUnet"


class ReversibleUNet(nn.Module):
    """Reversible blocks at each level, down and up; max pooling, linear upsampling, summed skips.

    Between levels 1x1 convolutions change the width, after the pooling down and before the
    upsampling up. A level has ``encoder_blocks`` on the way down and ``decoder_blocks`` on the way
    up, the coarsest one both. What a training step keeps does not grow with them: the backward
    pass computes activations again (``backward="keep"`` keeps them instead, with the same result).

    ``block="plain"`` has two convolutions, each with norm and activation, in their place, and one
    at the coarsest level in each direction. ``groups`` are those of all norms; None is half of the
    first width, and with plain blocks that width. 1-D to 3-D by the rank of the image, padded with
    zeros at the end of each axis to a multiple of ``stride``.
    """

    paper: ClassVar[Paper] = Paper(
        "A Partially Reversible U-Net for Memory-Efficient Volumetric Image Segmentation",
        "Brügger",
        2019,
        "https://arxiv.org/abs/1906.06148",
    )

    num_classes: int
    widths: tuple[int, ...] = (60, 120, 240, 360, 480)
    encoder_blocks: int = 1
    decoder_blocks: int = 1
    block: Literal["reversible", "plain"] = "reversible"
    groups: int | None = None
    backward: Backward = "recompute"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self.widths) - 1)

    @property
    def names(self) -> Names:
        """The authors' places; their decoder counts from the coarsest level on."""
        parts, rows = (("conv", "conv!"), ("gn", "norm!")), [(r"lastConv", "head!")]
        plain, last = self.block == "plain", len(self.widths) - 1
        rows += [] if plain else [(r"firstConv", "stem!")]
        sides = [(rf"encoders\.{i}", f"level{i}_down", "widen") for i in range(last + 1)]
        sides += [(rf"decoders\.{last - i}", f"level{i}_up", "narrow") for i in range(last + 1)]
        for theirs, ours, change in sides:
            if not plain:
                rows.append((rf"{theirs}\.conv", f"{ours}_{change}!"))
            for part, mine in parts:
                if plain:
                    place = mine if part == "conv" else f"adn.{mine}"
                    rows.append((rf"{theirs}\.{part}(\d)", rf"{ours}\1.{place}"))
                else:
                    branch = r"reversibleBlocks\.reversible_blocks\.(\d+)\.([fg])_block"
                    rows.append((rf"{theirs}\.{branch}\.{part}", rf"{ours}.block\1_\2.{mine}"))
        return {AUTHORS: tuple(rows)}

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size. Raises UserError for impossible fields."""
        self._check()
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        if self.block == "reversible":
            x = Conv(self.widths[0], use_bias=False, name="stem")(x)
        skips, last = [], len(self.widths) - 1
        for level in range(last + 1):
            x = self._down(max_pool(x) if level else x, level, train)
            skips.append(x)
        skips.pop()
        for level in reversed(range(last + 1)):
            x = self._up(x, level, train)
            if level:
                x = enlarge(x, 2, "linear") + skips.pop()
        x = Head(self.num_classes, name="head")(x)
        return Prediction(crop(x, image.shape[1:-1]))

    def _down(self, x: Array, level: int, train: bool) -> Float[Array, "b *s c"]:
        width, name = self.widths[level], f"level{level}_down"
        if self.block == "plain":
            x = self._conv(width, f"{name}1")(x, train=train)
            coarsest = level == len(self.widths) - 1
            return x if coarsest else self._conv(width, f"{name}2")(x, train=train)
        if level:
            x = Conv(width, 1, name=f"{name}_widen")(x)
        return self._blocks(self.encoder_blocks, name)(x, train=train)

    def _up(self, x: Array, level: int, train: bool) -> Float[Array, "b *s c"]:
        """The level's blocks, with the width of the next finer one."""
        width, name = self.widths[max(level - 1, 0)], f"level{level}_up"
        if self.block == "plain":
            if level < len(self.widths) - 1:
                x = self._conv(x.shape[-1], f"{name}1")(x, train=train)
            return self._conv(width, f"{name}2")(x, train=train)
        x = self._blocks(self.decoder_blocks, name)(x, train=train)
        return Conv(width, 1, name=f"{name}_narrow")(x) if level else x

    def _blocks(self, blocks: int, name: str) -> ReversibleSequence:
        branch = PreactivatedConv(groups=self._groups, parent=None)
        return ReversibleSequence(branch, blocks, self.backward, name=name)

    def _conv(self, width: int, name: str) -> ConvADN:
        after = ADN("group", "leaky_relu", affine=True, groups=self._groups, parent=None)
        return ConvADN(width, use_bias=False, after=after, name=name)

    @property
    def _groups(self) -> int:
        if self.groups is not None:
            return self.groups
        return self.widths[0] if self.block == "plain" else self.widths[0] // 2

    def _check(self) -> None:
        require(len(self.widths) > 0, "ReversibleUNet.widths", self.widths, "one number or more")
        for field in ("encoder_blocks", "decoder_blocks"):
            value = getattr(self, field)
            require(value >= 1, f"ReversibleUNet.{field}", value, "at least 1")
            fits = self.block != "plain" or value == 1
            require(fits, f"ReversibleUNet.{field}", value, "1 where block='plain'")
        parts = 1 if self.block == "plain" else 2  # a branch sees half of the channels
        if parts == 2 and any(width % 2 for width in self.widths):
            raise UserError(f"ReversibleUNet.widths={self.widths}: must be even, to be halved")
        groups = self._groups
        require(groups >= 1, "ReversibleUNet.groups", groups, "at least 1")
        if any(width // parts % groups for width in self.widths):
            seen = tuple(width // parts for width in self.widths)
            raise UserError(
                f"ReversibleUNet.widths={self.widths}: norms of {groups} groups see {seen} "
                "channels; each must be a multiple, or say other groups"
            )
