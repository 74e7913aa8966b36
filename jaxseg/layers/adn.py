"""What follows a convolution in MONAI: activation, dropout and norm, in any order.

``ConvADN`` is the convolution with it, MONAI's ``Convolution``.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers.activation import Activation, activated
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.layers.transposed import TransposedConv
from jaxseg.ops import Size, per_axis

Order = Literal["NDA", "NAD", "DNA", "DAN", "AND", "ADN"]


class ADN(nn.Module):
    """Activation, dropout and norm in the ``order`` of their letters.

    The fields are those of `Norm`, but for ``negative_slope``, which is that of ``leaky_relu``. A
    network's convolutions have a copy each. ``dropout`` drops single numbers, or whole ``channels``
    (PyTorch's Dropout2d and Dropout3d), and needs the rng ``dropout``. The defaults are MONAI's.
    """

    norm: Kind = "instance"
    activation: Activation = "prelu_shared"
    dropout: float = 0.0
    order: Order = "NDA"
    affine: bool = False
    groups: int | None = None
    negative_slope: float = 0.01
    epsilon: float = 1e-5
    momentum: float = 0.9
    dropped: Literal["numbers", "channels"] = "numbers"
    scale_init: Literal["ones", "zeros"] = "ones"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """A map of the same shape. UserError where ``dropout`` is no probability."""
        require(0 <= self.dropout <= 1, "ADN.dropout", self.dropout, "in [0, 1]")
        letters = self.order if self.dropout else self.order.replace("D", "")
        fused = self.activation == "relu" and "NA" in letters  # one pass over the map, not two
        for letter in letters.replace("NA", "N") if fused else letters:
            if letter == "N":
                x = self._norm("relu" if fused else "none")(x, train=train)
            elif letter == "D":
                together = range(1, x.ndim - 1) if self.dropped == "channels" else ()
                drop = nn.Dropout(self.dropout, broadcast_dims=tuple(together), name="dropout")
                x = drop(x, deterministic=not train)
            else:
                x = activated_as(self, x, self)
        return x

    def _norm(self, activation: Activation) -> Norm:
        return Norm(
            self.norm,
            groups=self.groups,
            affine=self.affine,
            activation=activation,
            epsilon=self.epsilon,
            momentum=self.momentum,
            scale_init=self.scale_init,
            name="norm",
        )


def activated_as(
    module: nn.Module, x: Float[Array, "b *s c"], after: ADN
) -> Float[Array, "b *s c"]:
    """``after``'s activation alone; a slope is the parameter ``slope`` of ``module``."""
    if after.activation == "leaky_relu":
        return nn.leaky_relu(x, after.negative_slope)
    return activated(module, x, after.activation)


class ConvADN(nn.Module):
    """``after(conv(x))``, padded so that the size is divided by the stride, rounding up.

    With ``transposed`` it is multiplied by it instead. ``after`` is an `ADN`, or another module of
    its call. Kernels are odd.
    """

    features: int
    kernel_size: Size = 3
    stride: Size = 1
    transposed: bool = False
    use_bias: bool = True
    after: nn.Module = ADN()

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """UserError for a kernel of an even size."""
        conv = up_conv if self.transposed else down_conv
        y = conv(self.features, self.kernel_size, self.stride, self.use_bias, x.ndim - 2, "conv")(x)
        after = self.after.copy(name="adn")
        return jnp.asarray(after(y, train=train))


def down_conv(
    features: int, kernel_size: Size, stride: Size, use_bias: bool, rank: int, name: str
) -> Conv:
    """A convolution that divides sizes by its stride. UserError for a kernel of an even size."""
    kernel = odd(kernel_size, rank)
    return Conv(features, kernel, per_axis(stride, rank, "stride"), use_bias=use_bias, name=name)


def up_conv(
    features: int, kernel_size: Size, stride: Size, use_bias: bool, rank: int, name: str
) -> TransposedConv:
    """A transposed one that multiplies sizes by its stride."""
    kernel, strides = odd(kernel_size, rank), per_axis(stride, rank, "stride")
    return TransposedConv(
        features,
        stride=strides,
        kernel_size=kernel,
        padding=tuple(k // 2 for k in kernel),
        output_padding=tuple(s - 1 for s in strides),
        use_bias=use_bias,
        name=name,
    )


def odd(kernel_size: Size, rank: int) -> tuple[int, ...]:
    """A kernel's size along each axis. UserError for an even one."""
    kernel = per_axis(kernel_size, rank, "kernel_size")
    require(all(k % 2 for k in kernel), "kernel_size", kernel_size, "odd, so that sizes stay")
    return kernel
