"""HighRes3DNet: residual blocks at full resolution, of dilated convolutions.

On the Compactness, Efficiency, and Representation of 3D Convolutional Networks: Brain Parcellation
as a Pretext Task; Li, Wang, Fidon, Ourselin, Cardoso, Vercauteren 2017,
https://arxiv.org/abs/1707.01992, figure 1

Differs from the paper: no dropout by default (``after`` has it; it then follows the last features).
``head="monai"`` is ``monai.networks.nets.HighResNet``, whose logits pass a norm and a ReLU too.
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, Conv, ConvADN, Head
from jaxseg.layers.adn import odd
from jaxseg.types import Names, Paper, Prediction

AFTER = ADN("batch", "relu", order="NAD", affine=True)
"""Batch norm and ReLU; with a ``dropout`` that comes last, and behind the last features alone."""

Shortcut = Literal["pad", "project"]
"""How a block adds x to more features: amid zeros on both sides, or by a convolution of one tap."""


class HighRes3DNet(nn.Module):
    """A convolution, stages of residual blocks, features of ``head_width``, logits; all of 1x1x1.

    Stage i has ``depths[i]`` blocks of ``widths[i]`` features, whose convolutions have ``kernels``
    (a size for each) and a dilation of 2^i. ``after`` is copied behind the first and the last
    convolution before the logits, and before each one of a block. 1-D to 3-D by the rank of the
    image, of any size. Maps have the image's size throughout: training keeps 40 of them or more.
    """

    paper: ClassVar[Paper] = Paper(
        "On the Compactness, Efficiency, and Representation of 3D Convolutional Networks",
        "Li",
        2017,
        "https://arxiv.org/abs/1707.01992",
    )

    num_classes: int
    widths: tuple[int, ...] = (16, 32, 64)
    depths: tuple[int, ...] = (3, 3, 3)
    kernels: tuple[int, ...] = (3, 3)
    head_width: int = 80
    shortcut: Shortcut = "pad"
    head: Literal["plain", "monai"] = "plain"
    after: ADN = AFTER
    use_bias: bool = False
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """1: no map is smaller than the image."""
        return 1

    @property
    def names(self) -> Names:
        """MONAI's places, which count all blocks in one row; it has no plain logits."""
        if self.head == "plain":
            return {}
        blocks = [f"level{i}_block{j}" for i, depth in enumerate(self.depths) for j in range(depth)]
        last, rows = len(blocks) + 1, _conv_rows(r"blocks\.0", "stem")
        rows += _conv_rows(rf"blocks\.{last}", "head_conv")
        rows += _conv_rows(rf"blocks\.{last + 1}", "head")
        for number, ours in enumerate(blocks, start=1):
            theirs = rf"blocks\.{number}"
            rows.append((rf"{theirs}\.chn_pad\.project", f"{ours}.shortcut!"))
            for i in range(len(self.kernels)):
                rows.append((rf"{theirs}\.layers\.{2 * i}\.N", f"{ours}.adn{i}.norm!"))
                rows.append((rf"{theirs}\.layers\.{2 * i}\.A", f"{ours}.adn{i}@slope"))
                rows.append((rf"{theirs}\.layers\.{2 * i + 1}\.conv", f"{ours}.conv{i}!"))
        return {"monai": tuple(rows)}

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check()
        dense = self.after.clone(dropout=0.0)
        x = jnp.asarray(image, self.dtype)
        fields: Any = {"use_bias": self.use_bias, "after": dense}
        x = ConvADN(self.widths[0], **fields, name="stem")(x, train=train)
        for level, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            for i in range(depth):
                block = DilatedBlock(
                    width,
                    self.kernels,
                    2**level,
                    self.shortcut,
                    **fields,
                    name=f"level{level}_block{i}",
                )
                x = block(x, train=train)
        x = self._conv(self.head_width, "head_conv")(x, train=train)
        if self.head == "plain":
            return Prediction(Head(self.num_classes, name="head")(x))
        scores = self._conv(self.num_classes, "head")(x.astype(jnp.float32), train=train)
        return Prediction(scores)

    def _conv(self, width: int, name: str) -> ConvADN:
        return ConvADN(width, 1, use_bias=self.use_bias, after=self.after, name=name)

    def _check(self) -> None:
        levels, what = len(self.widths), f"one entry for each of widths={self.widths}"
        require(levels > 0, "HighRes3DNet.widths", self.widths, "one number or more")
        require(len(self.depths) == levels, "HighRes3DNet.depths", self.depths, what)
        least = min(self.depths)
        require(least >= 1, "HighRes3DNet.depths", self.depths, "at least 1 each")
        require(len(self.kernels) > 0, "HighRes3DNet.kernels", self.kernels, "one size or more")
        grows = self.shortcut == "project" or list(self.widths) == sorted(self.widths)
        what = "of widths that never fall where shortcut='pad'; 'project' takes any"
        require(grows, "HighRes3DNet.widths", self.widths, what)


class DilatedBlock(nn.Module):
    """``shortcut(x) + convs(x)``: norm and activation before each of the dilated convolutions."""

    features: int
    kernels: tuple[int, ...] = (3, 3)
    dilation: int = 1
    shortcut: Shortcut = "pad"
    use_bias: bool = False
    after: ADN = AFTER

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """The size stays; UserError for a kernel of an even size."""
        y: Array = x
        for i, kernel in enumerate(self.kernels):
            y = jnp.asarray(self.after.copy(name=f"adn{i}")(y, train=train))
            size = odd(kernel, x.ndim - 2)
            fields = {"dilation": self.dilation, "use_bias": self.use_bias, "name": f"conv{i}"}
            y = Conv(self.features, size, **fields)(y)
        more = self.features - x.shape[-1]
        if more and self.shortcut == "project":
            x = Conv(self.features, 1, name="shortcut")(x)
        elif more:
            edges = [*[(0, 0, 0)] * (x.ndim - 1), (more // 2, more - more // 2, 0)]
            x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
        return x + y


def _conv_rows(theirs: str, ours: str) -> list[tuple[str, str]]:
    """Where a `ConvADN` stands."""
    return [
        (rf"{theirs}\.conv", f"{ours}.conv!"),
        (rf"{theirs}\.adn\.N", f"{ours}.adn.norm!"),
        (rf"{theirs}\.adn\.A", f"{ours}.adn@slope"),
    ]
