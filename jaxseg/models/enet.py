"""ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation.

Paszke, Chaurasia, Kim, Culurciello 2016, https://arxiv.org/abs/1606.02147, figure 2, table 1

Differs from the paper: nothing known; where text and the authors' Lua code are not the same, it is
the code (e-lab/ENet-training). Its encoder is trained first by a 1x1 classifier of its own, which
is not here. ``form="davidtvs"`` is the popular PyTorch-ENet: other widths inside of the bottlenecks
that change the size, PReLUs of one slope for all channels, one more after the expansion, no biases,
norm and activation between the halves of the asymmetric convolutions, dropout in the decoder,
kernels of 2 in its bottlenecks and of 3 in the last layer.
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require
from jaxseg.layers import ChannelDropout, Conv, ConvNorm, Norm, TransposedConv
from jaxseg.layers.activation import activated
from jaxseg.ops import crop, max_pool, max_pool_with_indices, max_unpool, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

Form = Literal["paper", "davidtvs"]
Middle = int | Literal["asymmetric"]
"""The convolution in the middle of a bottleneck: 3x3 of that dilation, or 5x1 and 1x5."""

MIDDLES: tuple[Middle, ...] = (1, 2, "asymmetric", 4, 1, 8, "asymmetric", 16)
"""Section 2 of table 1, which section 3 repeats."""


def _of_davidtvs() -> tuple[tuple[str, str], ...]:
    """Its blocks are called by their convolution; a slope stands behind its norm."""
    rows = [
        (r"initial_block\.main_branch", "initial_conv!"),
        (r"initial_block\.batch_norm", "initial_norm!"),
        (r"initial_block\.out_prelu", "initial_norm@slope"),
        (r"transposed_conv", "head~"),
    ]
    kinds = "(?:regular|dilated|asymmetric)"
    blocks = [(rf"{kinds}{stage}_{i}", f"stage{stage}_block{i}") for stage, count in (
        (1, 4), (2, 8), (4, 2), (5, 1)) for i in range(1, count + 1)]  # fmt: skip
    blocks += [(rf"{kinds}3_{i}", f"stage3_block{i + 1}") for i in range(8)]
    blocks += [(f"downsample{stage}_0", f"stage{stage}_down") for stage in (1, 2)]
    blocks += [(f"upsample{stage}_0", f"stage{stage}_up") for stage in (4, 5)]
    for theirs, ours in blocks:
        last = 2 if "_up" in ours else 3
        rows += [
            (rf"{theirs}\.main_conv1\.0", f"{ours}_project.conv!"),
            (rf"{theirs}\.main_conv1\.1", f"{ours}_project.norm!"),
            (rf"{theirs}\.ext_conv1\.0", f"{ours}.reduce_conv!"),
            (rf"{theirs}\.ext_conv1\.1", f"{ours}.reduce_norm!"),
            (rf"{theirs}\.ext_tconv1", f"{ours}.middle_conv~"),
            (rf"{theirs}\.ext_tconv1_bnorm", f"{ours}.middle_norm!"),
            (rf"{theirs}\.ext_conv{last}\.0", f"{ours}.expand_conv!"),
            (rf"{theirs}\.ext_conv{last}\.1", f"{ours}.expand_norm!"),
            (rf"{theirs}\.ext_conv{last}\.2", f"{ours}@expand_slope"),
            (rf"{theirs}\.ext_conv1\.2", f"{ours}@reduce_slope"),
            (rf"{theirs}\.out_prelu", f"{ours}@out_slope"),
        ]
        split = ours[-1] in "37" and ours[:6] in ("stage2", "stage3")
        parts = (".middle_conv!", ".middle_norm!", "@middle_slope")
        halves = (
            ".middle_conv1!",
            ".middle_norm1!",
            "@middle_slope1",
            ".middle_conv2!",
            *parts[1:],
        )
        for i, part in enumerate(halves if split else parts):
            rows.append((rf"{theirs}\.ext_conv2\.{i}", f"{ours}{part}"))
    return tuple(rows)


class ENet(nn.Module):
    """A small image early, bottlenecks on it, a decoder that unpools to where maxima came from.

    ``widths`` are those of the first layer (the image's channels, pooled, are among them), of
    stage 1 and of stages 2 and 3; the decoder has them backwards. ``blocks`` is the number of
    bottlenecks in stage 1, ``middles`` those of stages 2 and 3. ``dropouts`` drop channels in
    stage 1 and after. Any size: padded with zeros at the end of each axis to a multiple of
    ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation",
        "Paszke",
        2016,
        "https://arxiv.org/abs/1606.02147",
    )

    names: ClassVar[Names] = {"davidtvs/PyTorch-ENet": _of_davidtvs()}

    num_classes: int
    widths: tuple[int, int, int] = (16, 64, 128)
    blocks: int = 4
    middles: tuple[Middle, ...] = MIDDLES
    dropouts: tuple[float, float] = (0.01, 0.1)
    form: Form = "paper"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 8

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b h w c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        if image.ndim != 4:
            raise UserError(f"ENet takes images alone, [b h w c]; this has the shape {image.shape}")
        fine = all(middle == "asymmetric" or middle >= 1 for middle in self.middles)
        require(fine, "ENet.middles", self.middles, '"asymmetric" or dilations of at least 1')
        fine = all(0 <= rate < 1 for rate in self.dropouts)
        require(fine, "ENet.dropouts", self.dropouts, "in [0, 1) each")
        size, (first, small, wide) = image.shape[1:-1], self.widths
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        x = self._initial(x, train)
        x, fine = self._down(x, small, "stage1_down", train)
        for i in range(self.blocks):
            x = self._block(x, 1, f"stage1_block{i + 1}", train)
        x, coarse = self._down(x, wide, "stage2_down", train)
        for stage in (2, 3):
            for i, middle in enumerate(self.middles, start=1):
                x = self._block(x, middle, f"stage{stage}_block{i}", train)
        x = self._up(x, small, coarse, "stage4_up", train)
        for i in (1, 2):
            x = self._block(x, 1, f"stage4_block{i}", train)
        x = self._up(x, first, fine, "stage5_up", train)
        x = self._block(x, 1, "stage5_block1", train)
        return Prediction(crop(self._head()(x.astype(jnp.float32)), size))

    def _initial(self, x: Array, train: bool) -> Float[Array, "b h w k"]:
        paper, left = self.form == "paper", self.widths[0] - x.shape[-1]
        if left < 1:
            raise UserError(
                f"ENet: widths={self.widths} for an image of {x.shape[-1]} channels, which are "
                f"part of the first map; widths[0] must be above {x.shape[-1]}"
            )
        conv = Conv(left, 3, stride=2, use_bias=paper, name="initial_conv")
        pooled = max_pool(x) if paper else max_pool(x, 3, stride=2, padding=1)
        norm = Norm(
            activation="prelu" if paper else "prelu_shared",
            epsilon=_epsilon(self.form),
            name="initial_norm",
        )
        return norm(jnp.concatenate([conv(x), pooled], axis=-1), train=train)

    def _down(
        self, x: Array, features: int, name: str, train: bool
    ) -> tuple[Float[Array, "b h w k"], Array]:
        """The smaller map, and where in its windows the maxima were."""
        main, index = max_pool_with_indices(x)
        if features < main.shape[-1]:
            raise UserError(f"ENet: widths={self.widths} must not fall from one to the next")
        more = jnp.zeros((*main.shape[:-1], features - main.shape[-1]), main.dtype)
        main = jnp.concatenate([main, more], axis=-1)
        block = self._bottleneck(features, name, change="down")
        return block(x, main, train=train), index

    def _block(self, x: Array, middle: Middle, name: str, train: bool) -> Float[Array, "b h w k"]:
        return self._bottleneck(x.shape[-1], name, middle=middle)(x, x, train=train)

    def _up(
        self, x: Array, features: int, index: Array, name: str, train: bool
    ) -> Float[Array, "b h w k"]:
        project = ConvNorm(
            features, 1, activation="none", epsilon=_epsilon(self.form), name=f"{name}_project"
        )
        size = tuple(2 * n for n in x.shape[1:-1])
        main = max_unpool(project(x, train=train), index, size)
        return self._bottleneck(features, name, change="up")(x, main, train=train)

    def _bottleneck(
        self,
        features: int,
        name: str,
        *,
        middle: Middle = 1,
        change: Literal["none", "down", "up"] = "none",
    ) -> "Bottleneck":
        decodes = name[:6] in ("stage4", "stage5")
        dropout = self.dropouts[0 if name.startswith("stage1") else 1]
        if decodes and self.form == "paper":
            dropout = 0.0
        side = "decoder" if decodes else "encoder"
        return Bottleneck(features, middle, change, side, self.form, dropout, name=name)

    def _head(self) -> TransposedConv:
        if self.form == "paper":
            return TransposedConv(self.num_classes, name="head")
        return TransposedConv(
            self.num_classes,
            kernel_size=3,
            padding=1,
            output_padding=1,
            use_bias=False,
            name="head",
        )


class Bottleneck(nn.Module):
    """``activation(main + branch)``: 1x1 (2x2 where it shrinks), a middle one, 1x1 (figure 2b).

    The encoder is activated by PReLU, the decoder by ReLU.
    """

    features: int
    middle: Middle
    change: Literal["none", "down", "up"]
    side: Literal["encoder", "decoder"]
    form: Form
    dropout: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], main: Float[Array, "b i j k"], *, train: bool
    ) -> Float[Array, "b i j k"]:
        """A map of ``main``'s size and channels."""
        paper = self.form == "paper"
        narrow = max((self.features if paper else x.shape[-1]) // 4, 1)
        stride = 2 if self.change == "down" else 1
        y = Conv(narrow, stride, stride, padding=0, use_bias=False, name="reduce_conv")(x)
        y = self._activated(self._normed(y, "reduce", train), "reduce_slope")
        y = self._middle(y, narrow, train)
        y = Conv(self.features, 1, use_bias=False, name="expand_conv")(y)
        y = self._normed(y, "expand", train)
        y = y if paper else self._activated(y, "expand_slope")
        y = ChannelDropout(self.dropout, name="dropout")(y, train=train)
        return self._activated(main + y, "out_slope")

    def _middle(self, y: Array, narrow: int, train: bool) -> Float[Array, "b h w k"]:
        paper = self.form == "paper"
        if self.change == "up":
            fields: dict[str, Any] = {"kernel_size": 3, "padding": 1, "output_padding": 1}
            fields = fields if paper else {}
            y = TransposedConv(narrow, use_bias=paper, name="middle_conv", **fields)(y)
        elif self.middle == "asymmetric":
            sizes = ((1, 5), (5, 1)) if paper else ((5, 1), (1, 5))
            y = Conv(narrow, sizes[0], use_bias=False, name="middle_conv1")(y)
            if not paper:
                y = self._activated(self._normed(y, "middle", train, "1"), "middle_slope1")
            y = Conv(narrow, sizes[1], use_bias=paper, name="middle_conv2")(y)
        else:
            y = Conv(narrow, dilation=self.middle, use_bias=paper, name="middle_conv")(y)
        return self._activated(self._normed(y, "middle", train), "middle_slope")

    def _normed(self, y: Array, place: str, train: bool, number: str = "") -> Array:
        return Norm(epsilon=_epsilon(self.form), name=f"{place}_norm{number}")(y, train=train)

    def _activated(self, y: Array, name: str) -> Array:
        if self.side == "decoder":
            return nn.relu(y)
        return activated(self, y, "prelu" if self.form == "paper" else "prelu_shared", name)


def _epsilon(form: Form) -> float:
    return 1e-3 if form == "paper" else 1e-5
