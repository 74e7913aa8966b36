"""Residual blocks, basic or bottleneck: activated after the sum, or before the convolutions.

`ResidualBlock`: Deep Residual Learning, He et al. 2016, https://arxiv.org/abs/1512.03385, figure 5.
`PreactivatedBlock`: Identity Mappings in Deep Residual Networks, He et al. 2016,
https://arxiv.org/abs/1603.05027, figure 4e. Groups: ResNeXt, Xie et al. 2017,
https://arxiv.org/abs/1611.05431, figure 3c.
"""

from typing import Literal

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
from jaxseg.ops.average_pool import average_pool
from jaxseg.ops.axes import Size, per_axis

Form = Literal["basic", "bottleneck"]


class ResidualBlock(nn.Module):
    """``activation(x + branch(x))``; no convolution has a bias where a norm is.

    ``features`` are those of the output. The branch is two 3x3 convolutions (basic) or 1x1, 3x3,
    1x1 (bottleneck); ``width`` is that of the first 3x3, ``features`` (basic) or a quarter of them
    (bottleneck) where None; ResNeXt-101 32x8d's first stage is ``ResidualBlock(256,
    kind="bottleneck", width=256, groups=32)``. The stride is in the first 3x3 (torchvision's
    "v1.5"; the paper's bottleneck has it in the first 1x1); each 3x3 has ``dilation`` and
    ``groups``.

    ``shortcut`` says how x follows a change of size or width; without one it is x itself:
    ``conv`` a strided 1x1 convolution and norm; ``average`` an average pooling, then the 1x1 where
    widths differ (ResNet-D, He et al. 2019, https://arxiv.org/abs/1812.01187, figure 2c; nnU-Net's
    residual encoder); ``pad`` every stride-th pixel with channels of zeros on both sides (no
    parameters: HighRes3DNet, and He's option A, which adds them at the end).
    """

    features: int
    kind: Form = "basic"
    width: int | None = None
    stride: Size = 1
    dilation: Size = 1
    groups: int = 1
    shortcut: Literal["conv", "average", "pad"] = "conv"
    norm: Kind = "batch"
    activation: Activation = "relu"
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *t k"]:
        """Sizes as of ``Conv``. Raises UserError where the shortcut cannot follow the branch."""
        y, convs = x, _convs(self)
        for i, fields in enumerate(convs, start=1):
            activation = self.activation if i < len(convs) else "none"
            conv = ConvNorm(norm=self.norm, activation=activation, name=f"conv{i}", **fields)
            y = conv(y, train=train)
        y = _dropped(self, y, train=train)
        return activated(self, self._shortcut(x, train=train) + y, self.activation)

    def _shortcut(self, x: Array, *, train: bool) -> Array:
        x, stride, projects = _resized(self, x)
        if not projects:
            return x
        conv = ConvNorm(
            self.features,
            kernel_size=1,
            stride=stride,
            norm=self.norm,
            activation="none",
            name="shortcut",
        )
        return conv(x, train=train)


class PreactivatedBlock(nn.Module):
    """``x + branch(x)``, in which norm and activation precede each convolution.

    The fields are as in `ResidualBlock`; the 1x1 of a ``conv`` shortcut has no norm, and that of
    ``preactivated`` is one of ``activation(norm(x))`` (He's code, Non-local U-Nets).
    """

    features: int
    kind: Form = "basic"
    width: int | None = None
    stride: Size = 1
    dilation: Size = 1
    groups: int = 1
    shortcut: Literal["conv", "preactivated", "average", "pad"] = "conv"
    norm: Kind = "batch"
    activation: Activation = "relu"
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *t k"]:
        """Sizes as of ``Conv``. Raises UserError where the shortcut cannot follow the branch."""
        y = first = x
        for i, fields in enumerate(_convs(self), start=1):
            y = Norm(self.norm, activation=self.activation, name=f"norm{i}")(y, train=train)
            first = y if i == 1 else first
            y = Conv(use_bias=self.norm == "none", name=f"conv{i}", **fields)(y)
        y = _dropped(self, y, train=train)
        changes = _changes(self, x)
        x = first if changes and self.shortcut == "preactivated" else x
        x, stride, projects = _resized(self, x, changes=changes)
        if projects:
            conv = Conv(
                self.features,
                kernel_size=1,
                stride=stride,
                use_bias=self.norm == "none",
                name="shortcut",
            )
            x = conv(x)
        return x + y


Block = ResidualBlock | PreactivatedBlock


def _convs(block: Block) -> list[dict]:
    """The fields of the convolutions of the branch."""
    spread = {"kernel_size": 3, "dilation": block.dilation, "groups": block.groups}
    width, point = block.width, {"kernel_size": 1}
    if block.kind == "basic":
        first = {"features": width or block.features, **spread, "stride": block.stride}
        return [first, {"features": block.features, **spread}]
    width = width or block.features // 4
    middle = {"features": width, **spread, "stride": block.stride}
    return [{"features": width, **point}, middle, {"features": block.features, **point}]


def _dropped(block: Block, y: Array, *, train: bool) -> Array:
    if not block.drop_path:
        return y
    return StochasticDepth(block.drop_path, name="drop")(y, train=train)


def _changes(block: Block, x: Array) -> bool:
    """Whether the block changes size or width."""
    strides = per_axis(block.stride, x.ndim - 2, "stride")
    return x.shape[-1] != block.features or max(strides) > 1


def _resized(block: Block, x: Array, *, changes: bool | None = None) -> tuple[Array, Size, bool]:
    """The shortcut before its 1x1, the stride that is left for that, and whether there is one."""
    if not (_changes(block, x) if changes is None else changes):
        return x, 1, False
    if block.shortcut == "pad":
        return _padded(block, x), 1, False
    if block.shortcut == "average":
        # An odd size leaves a last window of fewer pixels, as the convolution's last is.
        x = average_pool(x, block.stride, ceil_mode=True, count_include_pad=False)
        return x, 1, x.shape[-1] != block.features
    return x, block.stride, True


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
