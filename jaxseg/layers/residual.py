"""The residual block: basic or bottleneck, activations after or before the sum.

Post-activation: Deep Residual Learning, He et al. 2016, https://arxiv.org/abs/1512.03385, figure 5.
Pre-activation: Identity Mappings in Deep Residual Networks, He et al. 2016,
https://arxiv.org/abs/1603.05027, figure 4e. Groups: ResNeXt, Xie et al. 2017,
https://arxiv.org/abs/1611.05431, figure 3c.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation, activate
from jaxseg.layers.average_pool import average_pool
from jaxseg.layers.conv import Conv, Size, per_axis
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.dropout import StochasticDepth
from jaxseg.layers.norm import Kind, Norm


class ResidualBlock(nn.Module):
    """``activation(x + branch(x))`` (post) or ``x + branch(activation(norm(x)))`` (pre).

    ``features`` are those of the output. The branch is two 3x3 convolutions (basic) or 1x1, 3x3,
    1x1 (bottleneck); ``width`` is that of the first 3x3, ``features`` (basic) or a quarter of them
    (bottleneck) where None; ResNeXt-101 32x8d's first stage is ``ResidualBlock(256,
    kind="bottleneck", width=256, groups=32)``. The stride is in the first 3x3 (torchvision's
    "v1.5"; the first paper's bottleneck has it in the first 1x1); each 3x3 has ``dilation`` and
    ``groups``. Where a norm is, convolutions have no bias.

    ``shortcut`` says how x follows a change of size or width; without one it is x itself:
    ``conv`` a strided 1x1 convolution (post: and norm); ``preactivated`` the same of
    ``activation(norm(x))`` (pre only: He's code, Non-local U-Nets); ``average`` an average pooling,
    then the 1x1 where widths differ (ResNet-D, He et al. 2019, https://arxiv.org/abs/1812.01187,
    figure 2c; nnU-Net's residual encoder); ``pad`` every stride-th pixel with channels of zeros on
    both sides (no parameters: HighRes3DNet, and He's option A, which adds them at the end).

    ``place`` precedes the names of the parts: with ``nn.share_scope(parent, block)`` the
    parameters lie in the parent's own scope, ``<place>conv1``, as ResNet's do.
    """

    features: int
    kind: Literal["basic", "bottleneck"] = "basic"
    order: Literal["post", "pre"] = "post"
    width: int | None = None
    stride: Size = 1
    dilation: Size = 1
    groups: int = 1
    shortcut: Literal["conv", "preactivated", "average", "pad"] = "conv"
    norm: Kind = "batch"
    activation: Activation = "relu"
    drop_path: float = 0.0
    place: str = ""
    param_dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *t k"]:
        """Sizes as of ``Conv``. Raises UserError where the shortcut cannot follow the branch."""
        if self.order == "post":
            y, shortcut = self._post(x, train=train)
        else:
            y, shortcut = self._pre(x, train=train)
        if self.drop_path:
            y = StochasticDepth(self.drop_path, name=f"{self.place}drop")(y, train=train)
        return activate(shortcut + y, self.activation if self.order == "post" else "none")

    def _convs(self) -> list[dict]:
        """The convolutions of the branch: their fields."""
        spread = {"kernel_size": 3, "dilation": self.dilation, "groups": self.groups}
        width, point = self.width, {"kernel_size": 1}
        if self.kind == "basic":
            first = {"features": width or self.features, **spread, "stride": self.stride}
            return [first, {"features": self.features, **spread}]
        width = width or self.features // 4
        middle = {"features": width, **spread, "stride": self.stride}
        return [{"features": width, **point}, middle, {"features": self.features, **point}]

    def _post(self, x: Array, *, train: bool) -> tuple[Array, Array]:
        y, convs = x, self._convs()
        for i, fields in enumerate(convs, start=1):
            activation = self.activation if i < len(convs) else "none"
            y = self._conv_norm(f"conv{i}", activation=activation, **fields)(y, train=train)
        if not self._changes(x):
            return y, x
        if self.shortcut == "preactivated":
            raise UserError(
                f"ResidualBlock {self.name}: shortcut='preactivated' needs order='pre'; "
                "with order='post' use 'conv'"
            )
        if self.shortcut == "pad":
            return y, self._padded(x)
        stride = self.stride
        if self.shortcut == "average":
            x, stride = self._averaged(x), 1
        if x.shape[-1] != self.features or self.shortcut == "conv":
            shortcut = self._conv_norm(
                "shortcut", features=self.features, kernel_size=1, stride=stride, activation="none"
            )
            x = shortcut(x, train=train)
        return y, x

    def _pre(self, x: Array, *, train: bool) -> tuple[Array, Array]:
        y = first = x
        for i, fields in enumerate(self._convs(), start=1):
            norm = Norm(
                self.norm,
                activation=self.activation,
                param_dtype=self.param_dtype,
                name=f"{self.place}norm{i}",
            )
            y = norm(y, train=train)
            first = y if i == 1 else first
            y = self._conv(f"conv{i}", **fields)(y)
        if not self._changes(x):
            return y, x
        if self.shortcut == "pad":
            return y, self._padded(x)
        x = first if self.shortcut == "preactivated" else x
        stride = self.stride
        if self.shortcut == "average":
            x, stride = self._averaged(x), 1
        if x.shape[-1] != self.features or self.shortcut != "average":
            shortcut = self._conv("shortcut", features=self.features, kernel_size=1, stride=stride)
            x = shortcut(x)
        return y, x

    def _changes(self, x: Array) -> bool:
        strides = per_axis(self.stride, x.ndim - 2, "stride")
        return x.shape[-1] != self.features or max(strides) > 1

    def _averaged(self, x: Array) -> Array:
        # An odd size leaves a last window of fewer pixels, as the convolution's last is.
        return average_pool(x, self.stride, ceil_mode=True, count_include_pad=False)

    def _padded(self, x: Array) -> Array:
        strides = per_axis(self.stride, x.ndim - 2, "stride")
        x = jax.lax.slice(x, (0,) * x.ndim, x.shape, (1, *strides, 1))
        more = self.features - x.shape[-1]
        if more < 0:
            raise UserError(
                f"ResidualBlock {self.name}: shortcut='pad' cannot take {x.shape[-1]} channels to "
                f"{self.features} features; use 'conv', or {x.shape[-1]} features or more"
            )
        edges = [(0, 0, 0)] * (x.ndim - 1)
        return jax.lax.pad(x, jnp.zeros((), x.dtype), [*edges, (more // 2, more - more // 2, 0)])

    def _conv(self, name: str, **fields) -> Conv:
        return Conv(
            use_bias=self.norm == "none",
            param_dtype=self.param_dtype,
            name=self.place + name,
            **fields,
        )

    def _conv_norm(self, name: str, **fields) -> ConvNorm:
        return ConvNorm(
            norm=self.norm, param_dtype=self.param_dtype, name=self.place + name, **fields
        )
