"""Residual blocks, basic or bottleneck: activated after the sum, or before each convolution.

After it: Deep Residual Learning, He et al. 2016, https://arxiv.org/abs/1512.03385, figure 5.
Before: Identity Mappings in Deep Residual Networks, He et al. 2016,
https://arxiv.org/abs/1603.05027, figure 4e. Groups: ResNeXt, Xie et al. 2017,
https://arxiv.org/abs/1611.05431, figure 3c.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation, activated
from jaxseg.layers.conv import Conv
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.dropout import StochasticDepth
from jaxseg.layers.norm import Kind, Norm
from jaxseg.ops import Size, average_pool, per_axis

Strided = Literal["3x3", "1x1"]
"""The convolution of a branch that has its stride: the first of this size."""


class ResidualBlock(nn.Module):
    """``activation(shortcut(x) + branch(x))``: the block of ResNet and ResNeXt.

    ``features`` are those of the output. The branch is two 3x3 convolutions (basic) or 1x1, 3x3,
    1x1 (bottleneck), each with its norm; ``width`` is that of the first 3x3, ``features`` (basic)
    or a quarter of them (bottleneck) where None; ResNeXt-101 32x8d's first stage is
    ``ResidualBlock(256, kind="bottleneck", width=256, groups=32)``. The stride is in the first 3x3
    (torchvision's "v1.5"), or in a bottleneck's first 1x1 (``strided="1x1"``: the first paper);
    each 3x3 has ``dilation`` and ``groups``. Where a norm is, convolutions have no bias.

    ``shortcut`` says how x follows a change of size or width; without one it is x itself:
    ``conv`` a strided 1x1 convolution and norm; ``average`` an average pooling, then the 1x1 where
    widths differ (ResNet-D, He et al. 2019, https://arxiv.org/abs/1812.01187, figure 2c; nnU-Net's
    residual encoder); ``pad`` every stride-th pixel with channels of zeros on both sides (no
    parameters: HighRes3DNet, and He's option A, which adds them at the end).
    """

    features: int
    kind: Literal["basic", "bottleneck"] = "basic"
    width: int | None = None
    stride: Size = 1
    strided: Strided = "3x3"
    dilation: Size = 1
    groups: int = 1
    shortcut: Literal["conv", "average", "pad"] = "conv"
    norm: Kind = "batch"
    activation: Activation = "relu"
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *t k"]:
        """The sizes are as of ``Conv``.

        Raises UserError where the shortcut cannot follow the branch.
        """
        y, convs = x, _convs(self)
        for i, fields in enumerate(convs, start=1):
            activation = self.activation if i < len(convs) else "none"
            y = self._conv_norm(f"conv{i}", activation=activation, **fields)(y, train=train)
        y = _dropped(self, y, train=train)
        x, stride = _fitted(self, x)
        if stride is not None:
            fields = {"features": self.features, "kernel_size": 1, "stride": stride}
            x = self._conv_norm("shortcut", activation="none", **fields)(x, train=train)
        return activated(self, x + y, self.activation)

    def _conv_norm(self, name: str, **fields: Any) -> ConvNorm:
        return ConvNorm(norm=self.norm, name=name, **fields)


class PreactivatedBlock(nn.Module):
    """``shortcut(x) + branch(x)``, norm and activation before each convolution of the branch.

    The fields are those of ``ResidualBlock``. ``shortcut`` has one form more, and its convolution
    no norm: ``preactivated`` is the strided 1x1 convolution of ``activation(norm(x))``, which the
    branch begins with (He's code, Non-local U-Nets), ``conv`` that of x.
    """

    features: int
    kind: Literal["basic", "bottleneck"] = "basic"
    width: int | None = None
    stride: Size = 1
    strided: Strided = "3x3"
    dilation: Size = 1
    groups: int = 1
    shortcut: Literal["conv", "preactivated", "average", "pad"] = "conv"
    norm: Kind = "batch"
    activation: Activation = "relu"
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *t k"]:
        """The sizes are as of ``Conv``.

        Raises UserError where the shortcut cannot follow the branch.
        """
        y = first = x
        for i, fields in enumerate(_convs(self), start=1):
            norm = Norm(self.norm, activation=self.activation, name=f"norm{i}")
            y = norm(y, train=train)
            first = y if i == 1 else first
            y = self._conv(f"conv{i}", **fields)(y)
        y = _dropped(self, y, train=train)
        of_first = self.shortcut == "preactivated" and _changes(self, x)
        x, stride = _fitted(self, first if of_first else x)
        if stride is not None:
            fields = {"features": self.features, "kernel_size": 1, "stride": stride}
            x = self._conv("shortcut", **fields)(x)
        return x + y

    def _conv(self, name: str, **fields: Any) -> Conv:
        return Conv(use_bias=self.norm == "none", name=name, **fields)


Block = ResidualBlock | PreactivatedBlock


def _convs(block: Block) -> list[dict[str, Any]]:
    """The fields of each convolution of the branch."""
    spread = {"kernel_size": 3, "dilation": block.dilation, "groups": block.groups}
    width, point = block.width, {"kernel_size": 1}
    if block.kind == "basic":
        if block.strided != "3x3":
            raise UserError(
                f"{type(block).__name__} {block.name}: strided={block.strided!r} is of bottlenecks "
                "alone; a basic block's stride is in its first '3x3'"
            )
        first = {"features": width or block.features, **spread, "stride": block.stride}
        return [first, {"features": block.features, **spread}]
    width = width or block.features // 4
    early, late = (block.stride, 1) if block.strided == "1x1" else (1, block.stride)
    first = {"features": width, **point, "stride": early}
    middle = {"features": width, **spread, "stride": late}
    return [first, middle, {"features": block.features, **point}]


def _dropped(block: Block, y: Array, *, train: bool) -> Array:
    return StochasticDepth(block.drop_path, name="drop")(y, train=train) if block.drop_path else y


def _changes(block: Block, x: Array) -> bool:
    """Whether the branch changes the size or the width of x."""
    strides = per_axis(block.stride, x.ndim - 2, "stride")
    return x.shape[-1] != block.features or max(strides) > 1


def _fitted(block: Block, x: Array) -> tuple[Array, Size | None]:
    """``x`` on the shortcut's way, and the stride of the 1x1 convolution that it still needs.

    None where it needs none.
    """
    if not _changes(block, x):
        return x, None
    if block.shortcut == "pad":
        return _padded(block, x), None
    if block.shortcut != "average":
        return x, block.stride
    # An odd size leaves a last window of fewer pixels, as the convolution's last is.
    averaged = average_pool(x, block.stride, ceil_mode=True, count_include_pad=False)
    return averaged, None if x.shape[-1] == block.features else 1


def _padded(block: Block, x: Array) -> Array:
    strides = per_axis(block.stride, x.ndim - 2, "stride")
    x = jax.lax.slice(x, (0,) * x.ndim, x.shape, (1, *strides, 1))
    more = block.features - x.shape[-1]
    if more < 0:
        raise UserError(
            f"{type(block).__name__} {block.name}: shortcut='pad' cannot take {x.shape[-1]} "
            f"channels to {block.features} features; use 'conv', or {x.shape[-1]} features or more"
        )
    edges = [(0, 0, 0)] * (x.ndim - 1)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [*edges, (more // 2, more - more // 2, 0)])
