"""Convolution, normalisation, activation: the brick of nearly every network."""

import flax.linen as nn
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from jaxseg.layers.activation import Activation
from jaxseg.layers.conv import Conv, Padding
from jaxseg.layers.norm import Kind, Norm
from jaxseg.ops import Size


class ConvNorm(nn.Module):
    """``activation(norm(conv(x)))``; the convolution has a bias only where no norm follows.

    ``use_bias`` gives it one before a norm too, which takes its effect away in training: networks
    that were released with it have it. ``epsilon`` and ``momentum`` are the norm's.

    Its output carries the name ``conv`` for checkpoint policies: with these alone kept, the
    backward pass recomputes norms and activations, which is cheap, and no convolution.
    """

    features: int
    kernel_size: Size = 3
    stride: Size = 1
    dilation: Size = 1
    padding: Padding = None
    groups: int = 1
    norm: Kind = "batch"
    activation: Activation = "relu"
    use_bias: bool = False
    epsilon: float = 1e-5
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *t k"]:
        """The sizes are as of ``Conv``."""
        x = Conv(
            self.features,
            kernel_size=self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            groups=self.groups,
            use_bias=self.use_bias or self.norm == "none",
            name="conv",
        )(x)
        x = checkpoint_name(x, "conv")
        norm = Norm(
            self.norm,
            activation=self.activation,
            epsilon=self.epsilon,
            momentum=self.momentum,
            name="norm",
        )
        return norm(x, train=train)
