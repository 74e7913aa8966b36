"""Fully convolutional ResNet behind a network that normalises the image; both learn together.

Drozdzal, Chartrand, Vorontsov, Di Jorio, Tang, Romero, Bengio, Pal, Kadoury 2018,
https://arxiv.org/abs/1702.05174; the network: Drozdzal et al. 2016,
https://arxiv.org/abs/1608.04117, figure 1 and table 1

Differs from the paper: logits, where it ends in a sigmoid of one class; sizes and widths are those
of the authors' library fcn_maker at its example's depths, read there and not in the paper's table.
``normalizer=None`` is the network of 2016; ``merge="concat"`` the library's default.
"""

from typing import Any, ClassVar, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import Conv, Head, Norm
from jaxseg.models.normalized import NORMALIZER, common_stride, normalized
from jaxseg.ops import crop, enlarge, max_pool, pad_to_multiple
from jaxseg.types import Paper, Prediction

Block = Literal["bottleneck", "basic"]


class FCResNet(nn.Module):
    """A convolution, residual stages down, across and up, a convolution, logits.

    Each stage begins by halving the size; the lowest, and those on the way up, end by doubling it.
    First come ``simple`` stages of one 3x3 convolution and ``width`` features, then ``depths[i]``
    blocks of ``2^i width`` features (four times as many for bottlenecks), the last of ``depths``
    being the lowest; up as down. What comes up is added to the skip connection, by a 1x1
    convolution where widths differ, or concatenated with it. ``dropout`` ends each block.

    ``normalizer`` is a network whose logits are the image that is segmented (`Normalized` puts one
    in front of another network). 2-D and 3-D by the rank of the image, of any size: padded with
    zeros at the end of each axis to a multiple of 2 to the number of stages, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "Learning Normalized Inputs for Iterative Estimation in Medical Image Segmentation",
        "Drozdzal",
        2018,
        "https://arxiv.org/abs/1702.05174",
    )

    num_classes: int
    normalizer: nn.Module | None = NORMALIZER
    width: int = 32
    simple: int = 2
    depths: tuple[int, ...] = (3, 8, 10, 3)
    block: Block = "bottleneck"
    merge: Literal["sum", "concat"] = "sum"
    dropout: float = 0.0
    dtype: str = "float32"

    @property
    def stride(self) -> Any:
        """Sizes that are multiples of this need no padding."""
        own = 2 ** (self.simple + len(self.depths))
        return own if self.normalizer is None else common_stride(own, self.normalizer.stride)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        fine = len(self.depths) > 0 and min(self.depths) >= 1
        require(fine, "FCResNet.depths", self.depths, "one number or more, at least 1 each")
        size, x = image.shape[1:-1], jnp.asarray(image, self.dtype)
        if self.normalizer is not None:
            x = normalized(self.normalizer, x, train).astype(self.dtype)
        x = pad_to_multiple(x, 2 ** (self.simple + len(self.depths)))
        x = self._dropped(Conv(self.width, name="stem_conv")(x), "stem", train)
        *stages, lowest = self._stages()
        skips = [x]
        for level, stage in enumerate(stages, start=1):
            x = self._stage(x, stage, f"level{level}", "down", train)
            skips.append(x)
        x = self._stage(x, lowest, "lowest", "across", train)
        for level in reversed(range(1, len(skips))):
            x = self._merged(x, skips[level], f"level{level}")
            x = self._stage(x, stages[level - 1], f"level{level}_up", "up", train)
        x = self._merged(x, skips[0], "head")
        x = Norm(activation="relu", name="head_norm")(x, train=train)
        x = self._dropped(Conv(self.width, name="head_conv")(x), "head", train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), size))

    def _stages(self) -> list["_Stage"]:
        simple = [_Stage("simple", self.width, 1)] * self.simple
        return simple + [
            _Stage(self.block, self.width * 2**i, depth) for i, depth in enumerate(self.depths)
        ]

    def _stage(
        self, x: Array, stage: "_Stage", place: str, way: str, train: bool
    ) -> Float[Array, "b *t k"]:
        """The blocks of a stage: the first halves, the last doubles the size."""
        for i in range(stage.depth):
            block = ResampledBlock(
                stage.width,
                kind=stage.kind,
                down=way != "up" and i == 0,
                up=way != "down" and i == stage.depth - 1,
                dropout=self.dropout,
                name=f"{place}_block{i + 1}",
            )
            x = block(x, train=train)
        return x

    def _merged(self, x: Array, skip: Array, place: str) -> Float[Array, "b *s k"]:
        if self.merge == "concat":
            return jnp.concatenate([x, skip], axis=-1)
        if x.shape[-1] != skip.shape[-1]:
            x = Conv(skip.shape[-1], kernel_size=1, name=f"{place}_merge")(x)
        return x + skip

    def _dropped(self, x: Array, place: str, train: bool) -> Array:
        return nn.Dropout(self.dropout, name=f"{place}_dropout")(x, deterministic=not train)


class _Stage(NamedTuple):
    kind: Literal["simple", "bottleneck", "basic"]
    width: int
    depth: int


class ResampledBlock(nn.Module):
    """``shortcut(x) + branch(x)``; norm and ReLU before each convolution (figure 1b to d).

    ``bottleneck`` is 1x1, 3x3, 1x1 to four times ``features``, ``basic`` two 3x3, ``simple`` one.
    ``down`` halves the size: by the stride of the first convolution, in ``simple`` by a maximum
    before it; the shortcut takes every second pixel. ``up`` repeats pixels: before the last
    convolution, in ``simple`` after it. The shortcut is a 1x1 convolution where channels differ.
    """

    features: int
    kind: Literal["simple", "bottleneck", "basic"] = "bottleneck"
    down: bool = False
    up: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *t k"]:
        """A map of half or twice the size, or the same."""
        kernels = {"simple": (3,), "basic": (3, 3), "bottleneck": (1, 3, 1)}[self.kind]
        out = self.features * (4 if self.kind == "bottleneck" else 1)
        y, last = x, len(kernels)
        for i, kernel in enumerate(kernels, start=1):
            y = Norm(activation="relu", name=f"norm{i}")(y, train=train)
            stride = 2 if self.down and i == 1 else 1
            if self.kind == "simple":
                y, stride = max_pool(y) if self.down else y, 1
            elif self.up and i == last:
                y = enlarge(y, 2, "nearest")
            features = out if i == last else self.features
            y = Conv(features, kernel, stride=stride, name=f"conv{i}")(y)
            if i == (1 if self.kind == "basic" else last):
                y = nn.Dropout(self.dropout, name="dropout")(y, deterministic=not train)
        if self.kind == "simple" and self.up:
            y = enlarge(y, 2, "nearest")
        return y + self._shortcut(x, out)

    def _shortcut(self, x: Array, out: int) -> Float[Array, "b *t k"]:
        if self.down:
            x = jax.lax.slice(x, (0,) * x.ndim, x.shape, (1, *(2,) * (x.ndim - 2), 1))
        if x.shape[-1] != out:
            x = Conv(out, kernel_size=1, name="shortcut")(x)  # before it is enlarged: the same
        return enlarge(x, 2, "nearest") if self.up else x
