"""NAS-Unet: Neural Architecture Search for Medical Image Segmentation.

Weng, Zhou, Li, Qiu 2019, https://doi.org/10.1109/ACCESS.2019.2908991, figures 2 to 4

Differs from the paper, as the authors' code does: cells are joined by 1x1 convolutions, each with
group norm of 16 channels a group, and the number of channels is the same on all levels. The search
itself is not here; what it found is (`GENOTYPES`), under the code's names. Its auxiliary head and
its option to double the channels, which no released recipe takes, are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, unknown
from jaxseg.layers import Conv, Head, Norm, SqueezeExcitation, TransposedConv
from jaxseg.ops import average_pool, crop, max_pool, pad_to_multiple
from jaxseg.types import Paper, Prediction

NORMAL = ("identity", "none", "cweight", "dil_conv", "dep_conv", "shuffle_conv", "conv")
DOWN = ("avg_pool", "max_pool", "down_cweight", "down_dil_conv", "down_dep_conv", "down_conv")
UP = ("up_cweight", "up_dep_conv", "up_conv", "up_dil_conv")

Edges = tuple[tuple[str, int], ...]
"""Operations and their inputs: 0 and 1 are the cell's, 2 is its first node. Two make a node."""


@dataclass(frozen=True)
class Genotype:
    """What a search found: the edges of the cell that halves the size and of the one that doubles.

    A cell has two inputs. Of a down cell both are twice its size, so edges from them halve; of an
    up cell input 1 is half its size, so edges from it double. All other edges keep the size. The
    cell's output are all its nodes beside each other.
    """

    down: Edges
    up: Edges

    def __post_init__(self) -> None:
        """Refuse what is no cell."""
        _check("down", self.down, {0: DOWN, 1: DOWN})
        _check("up", self.up, {1: UP})


def _check(cell: str, edges: Edges, resizing: Mapping[int, tuple[str, ...]]) -> None:
    if len(edges) < 2 or len(edges) % 2:
        raise UserError(f"Genotype.{cell} has {len(edges)} edges; a node is the sum of two of them")
    if not all(isinstance(edge, tuple) and len(edge) == 2 for edge in edges):
        raise UserError(f'Genotype.{cell}={edges}: must be pairs such as ("conv", 0)')
    for number, (name, source) in enumerate(edges):
        if name not in (*NORMAL, *DOWN, *UP):
            raise unknown(f"Genotype.{cell}: no operation is called", name, (*NORMAL, *DOWN, *UP))
        nodes = 2 + number // 2
        if not 0 <= source < nodes:
            raise UserError(
                f"Genotype.{cell}: {name!r} is of input {source}; 0 to {nodes - 1} are before it"
            )
        fitting = resizing.get(source, NORMAL)
        if name not in fitting:
            raise UserError(
                f"Genotype.{cell}: {name!r} of input {source} gives another size than the cell's; "
                f"there fit {', '.join(fitting)}"
            )


def _genotype(down: str, up: str) -> Genotype:
    """Edges written as ``operation:input``."""
    cells = ([edge.split(":") for edge in text.split()] for text in (down, up))
    return Genotype(*(tuple((name, int(source)) for name, source in cell) for cell in cells))


GENOTYPES: Mapping[str, Genotype] = MappingProxyType(
    {
        "v1_en": _genotype(
            "down_conv:0 down_dil_conv:1 down_dep_conv:0 down_dep_conv:1",
            "cweight:0 up_cweight:1 conv:0 up_cweight:1",
        ),
        "v1_en_sh": _genotype(
            "down_cweight:0 down_cweight:1 down_dep_conv:0 down_cweight:1",
            "dep_conv:0 up_cweight:1 cweight:0 up_cweight:1",
        ),
        "v2_en": _genotype(
            "down_dep_conv:0 down_dil_conv:1 down_cweight:0 down_dep_conv:1 "
            "down_dep_conv:1 down_dep_conv:0",
            "identity:0 up_dep_conv:1 cweight:0 up_cweight:1 conv:2 up_cweight:1",
        ),
        "v2": _genotype(
            "down_conv:1 down_dep_conv:0 down_cweight:1 down_dil_conv:0 down_dil_conv:1 "
            "down_conv:0",
            "identity:0 up_cweight:1 identity:2 up_cweight:1 cweight:3 up_conv:1",
        ),
        "v3": _genotype(
            "down_dil_conv:1 down_cweight:0 down_cweight:0 down_cweight:1 down_cweight:0 conv:3 "
            "down_cweight:0 conv:4",
            "cweight:0 up_cweight:1 conv:2 up_cweight:1 up_cweight:1 conv:3 up_cweight:1 conv:4",
        ),
        "v3_en_sh": _genotype(
            "down_dep_conv:0 down_cweight:1 conv:2 down_cweight:1 identity:3 down_cweight:1 "
            "down_dil_conv:1 conv:3",
            "cweight:0 up_conv:1 cweight:2 up_conv:1 cweight:3 up_conv:1 cweight:0 up_cweight:1",
        ),
        "new_v1": _genotype(
            "down_dil_conv:0 down_conv:1 max_pool:1 down_conv:0",
            "conv:0 up_dil_conv:1 conv:2 up_cweight:1",
        ),
        "new_v2": _genotype(
            "down_dil_conv:1 down_dep_conv:0 max_pool:0 down_conv:1 down_conv:1 down_dil_conv:0",
            "identity:0 up_dil_conv:1 identity:0 up_dil_conv:1 dil_conv:3 up_cweight:1",
        ),
        "new_v3": _genotype(
            "down_dep_conv:0 down_cweight:1 down_conv:1 max_pool:0 max_pool:1 cweight:2 "
            "down_dil_conv:0 down_dil_conv:1",
            "dep_conv:0 up_conv:1 shuffle_conv:0 up_cweight:1 identity:2 up_cweight:1 "
            "dil_conv:3 up_cweight:1",
        ),
    }
)
"""What the authors' searches on Pascal VOC found; their code builds ``v2``."""


class NASUNet(nn.Module):
    """Two stems, ``depth`` cells that halve, one more that double, all of one genotype.

    A cell has ``width`` channels a node, the stems four times as many. An up cell sees the
    encoder's map of its size and what the cell before it made. 2-D and 3-D by the rank of the
    image, of any size: padded with zeros at the end of each axis to a multiple of
    ``2 ** (depth + 1)``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "NAS-Unet: Neural Architecture Search for Medical Image Segmentation",
        "Weng",
        2019,
        "https://doi.org/10.1109/ACCESS.2019.2908991",
    )

    num_classes: int
    width: int = 48
    depth: int = 5
    genotype: Genotype = GENOTYPES["v2"]
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: a map that is doubled lacks a row until it is put in."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_multiple(jnp.asarray(image, self.dtype), 2 ** (self.depth + 1))
        maps = [self._stem(x, 1, "stem0", train), self._stem(x, 2, "stem1", train)]
        for i in range(self.depth):
            cell = Cell(self.genotype.down, self.width, "down", name=f"down{i}")
            maps.append(cell(maps[-2], maps[-1], train=train))
        *skips, x = maps
        for i, skip in enumerate(reversed(skips)):
            x = Cell(self.genotype.up, self.width, "up", name=f"up{i}")(skip, x, train=train)
        logits = Head(self.num_classes, use_bias=False, name="head")(x)
        return Prediction(crop(logits, image.shape[1:-1]))

    def _stem(self, x: Array, stride: int, name: str, train: bool) -> Float[Array, "b *s k"]:
        features = 4 * self.width
        conv = Conv(features, 2 * stride - 1, stride, use_bias=False, name=f"{name}_conv")
        return _norm(features, f"{name}_norm")(conv(x), train=train)


class Cell(nn.Module):
    """Nodes that are sums of two operations each, on two inputs reduced to ``features``."""

    edges: Edges
    features: int
    way: Literal["down", "up"]

    @nn.compact
    def __call__(
        self, first: Float[Array, "b *s c"], second: Float[Array, "b *t d"], *, train: bool
    ) -> Float[Array, "b *u k"]:
        """All nodes beside each other.

        Down: ``first`` is the map before ``second``, of twice its size, and the result has half
        of it. Up: ``first`` is the encoder's, of twice the size of ``second``, and so is the
        result.
        """
        states = []
        for i, (x, strided) in enumerate(((first, self.way == "down"), (second, False))):
            conv = Conv(self.features, 1, 2 if strided else 1, use_bias=False, name=f"input{i}")
            norm = _norm(self.features, f"input{i}_norm")
            states.append(norm(conv(nn.relu(x)), train=train))
        for node in range(len(self.edges) // 2):
            parts = [
                Operation(name, self.features, name=f"node{node}_edge{i}")(
                    states[source], train=train
                )
                for i, (name, source) in enumerate(self.edges[2 * node : 2 * node + 2])
            ]
            states.append(parts[0] + parts[1])
        return jnp.concatenate(states[2:], axis=-1)


class Operation(nn.Module):
    """One edge: pooling, a convolution (then norm and ReLU), or channels weighted by their means.

    ``cweight`` is squeeze and excitation to a sixteenth; where the size changes a strided or
    transposed 3x3 convolution and a norm follow. ``shuffle_conv`` and ``conv`` are the same in
    the authors' code: with one group there is nothing to shuffle.
    """

    operation: str
    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """A map as large, half or twice as large, as the operation's name says."""
        if self.operation == "identity":
            return x
        if self.operation == "none":
            return jnp.zeros_like(x)
        if self.operation.endswith("pool"):
            return max_pool(x) if self.operation == "max_pool" else average_pool(x)
        way = self.operation.split("_")[0]
        way = way if way in ("down", "up") else "same"
        kind = self.operation.removeprefix(f"{way}_")
        if kind == "cweight":
            x = SqueezeExcitation(width=max(self.features // 16, 1), name="weight")(x)
            if way == "same":
                return x
        y = self._depthwise(x, way) if kind == "dep_conv" else self._conv(x, way, kind)
        y = _norm(self.features, "norm")(y, train=train)
        y = y if kind == "cweight" else nn.relu(y)
        return _with_first_doubled(y) if way == "up" else y

    def _conv(self, x: Array, way: str, kind: str) -> Float[Array, "b *t k"]:
        if way == "up" and kind != "dil_conv":
            return self._transposed("conv")(x)
        if way == "up":
            # a transposed convolution whose dilation is its stride sees only every other pixel
            y = Conv(self.features, use_bias=False, name="conv")(x)
            between = [(0, 0, 0), *[(0, 0, 1)] * (y.ndim - 2), (0, 0, 0)]
            return jax.lax.pad(y, jnp.zeros((), y.dtype), between)
        stride, dilation = (2 if way == "down" else 1), (2 if kind == "dil_conv" else 1)
        conv = Conv(self.features, 3, stride, dilation, use_bias=False, name="conv")
        return conv(x)

    def _depthwise(self, x: Array, way: str) -> Float[Array, "b *t k"]:
        channels, stride = x.shape[-1], 2 if way == "down" else 1
        if way == "up":
            y = self._transposed("depthwise", groups=channels)(x)
        else:
            y = Conv(channels, stride=stride, groups=channels, use_bias=False, name="depthwise")(x)
        return Conv(self.features, 1, use_bias=False, name="pointwise")(y)

    def _transposed(self, name: str, groups: int = 1) -> TransposedConv:
        return TransposedConv(
            self.features, kernel_size=3, padding=1, groups=groups, use_bias=False, name=name
        )


def _norm(features: int, name: str) -> Norm:
    return Norm("group", groups=1 if features % 16 else features // 16, name=name)


def _with_first_doubled(x: Float[Array, "b *s c"]) -> Float[Array, "b *t c"]:
    """``2 n - 1`` pixels an axis resized to ``2 n`` by the nearest: the first comes twice."""
    for axis in range(1, x.ndim - 1):
        x = jnp.concatenate([jax.lax.slice_in_dim(x, 0, 1, axis=axis), x], axis=axis)
    return x
