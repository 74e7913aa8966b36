"""The inverted residual block, wide inside and narrow outside: MBConv.

Sandler et al. 2018 (MobileNetV2), https://arxiv.org/abs/1801.04381 (figure 3b, table 1); with
squeeze and excitation, Howard et al. 2019 (MobileNetV3), https://arxiv.org/abs/1905.02244
(figure 4), and Tan & Le 2019 (EfficientNet), https://arxiv.org/abs/1905.11946.
"""

import functools

import flax.linen as nn
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from jaxseg.layers.activation import Activation
from jaxseg.layers.conv import Conv, Padding
from jaxseg.layers.norm import Kind, Norm


class InvertedResidual(nn.Module):
    """``x + project(squeeze(depthwise(expand(x))))``, each a convolution and a norm.

    ``expand``, to ``width`` channels, is left out where x has as many already; the activation
    follows expand and depthwise, none follows project. x is added where the shape is kept.
    ``squeeze`` is any module of one argument, such as ``SqueezeExcitation(width=24)``; its width
    is a quarter of ``width`` in MobileNetV3 (rounded to eights), of x's in EfficientNet.
    ``epsilon`` and ``momentum`` are the norms'; ``padding`` the depthwise convolution's.
    """

    features: int
    width: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: Padding = None
    activation: Activation = "relu6"
    squeeze: nn.Module | None = None
    norm: Kind = "batch"
    epsilon: float = 1e-5
    momentum: float = 0.9

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """The sizes are as of ``Conv``."""
        conv = functools.partial(Conv, use_bias=self.norm == "none")
        norm = functools.partial(Norm, self.norm, epsilon=self.epsilon, momentum=self.momentum)
        y = x
        if self.width != x.shape[-1]:
            y = checkpoint_name(conv(self.width, kernel_size=1, name="expand_conv")(y), "conv")
            y = norm(activation=self.activation, name="expand_norm")(y, train=train)
        depthwise = conv(
            self.width,
            kernel_size=self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            groups=self.width,
            name="depthwise_conv",
        )
        y = checkpoint_name(depthwise(y), "conv")
        y = norm(activation=self.activation, name="depthwise_norm")(y, train=train)
        if self.squeeze is not None:
            y = self.squeeze(y)
        y = checkpoint_name(conv(self.features, kernel_size=1, name="project_conv")(y), "conv")
        y = norm(name="project_norm")(y, train=train)
        return x + y if self.stride == 1 and y.shape[-1] == x.shape[-1] else y
