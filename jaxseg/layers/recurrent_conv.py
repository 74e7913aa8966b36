"""The recurrent convolution layer of R2U-Net.

Recurrent Residual Convolutional Neural Network based on U-Net, Alom et al. 2018,
https://arxiv.org/abs/1802.06955, equations 1 and 2; after Recurrent Convolutional Neural Network
for Object Recognition, Liang & Hu 2015.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.ops import Size


class RecurrentConv(nn.Module):
    """``steps`` recurrences of one convolution over its own output, unrolled, weights shared.

    ``shared`` is the community's form, one kernel for both inputs: ``y = f(w * x)``, then
    ``y = f(w * (x + y))``; x must have ``features`` channels. ``separate`` is the paper's:
    ``y = f(v * x)``, then ``y = f(v * x + w * y)``. f is norm, then activation; the norm too is
    shared by all steps, so its running moments move ``steps + 1`` times. Where a norm is, there is
    no bias: community code has one before its batch norm, which takes it away again.
    """

    features: int
    steps: int = 2
    kernels: Literal["shared", "separate"] = "shared"
    kernel_size: Size = 3
    norm: Kind = "batch"
    activation: Activation = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """The size stays. Raises UserError where shared kernels cannot take x."""
        norm = Norm(self.norm, activation=self.activation, name="norm")
        if self.kernels == "separate":
            drive = self._conv("input", use_bias=self.norm == "none")(x)
            recurrent = self._conv("recurrent", use_bias=False)
            y = norm(drive, train=train)
            for _ in range(self.steps):
                y = norm(drive + recurrent(y), train=train)
            return y
        if x.shape[-1] != self.features:
            raise UserError(
                f"RecurrentConv {self.name}: shared kernels need {self.features} channels, got "
                f"{x.shape[-1]}; put a 1x1 convolution before it or use kernels='separate'"
            )
        conv = self._conv("conv", use_bias=self.norm == "none")
        y = norm(conv(x), train=train)
        for _ in range(self.steps):
            y = norm(conv(x + y), train=train)
        return y

    def _conv(self, name: str, *, use_bias: bool) -> Conv:
        return Conv(self.features, self.kernel_size, use_bias=use_bias, name=name)
