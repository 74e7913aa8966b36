"""The attention gate: what a coarser map knows decides which pixels of a skip connection pass.

Oktay et al. 2018, https://arxiv.org/abs/1804.03999 (equations 1 and 2, figure 2).
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.ops import resize, spread


class AttentionGate(nn.Module):
    """``x * sigmoid(psi(relu(theta(x) + phi(gate))))``: additive attention, one weight a pixel.

    ``paper``: ``gate`` is any coarser map. ``theta`` is a convolution without bias whose kernel
    is as large as its ``stride``; ``phi`` of the gate is resized to its size, the weights are
    resized to that of x (linearly both), and a 1x1 convolution with norm, ``out``, follows, as
    in the authors' code. Width None is x's channels.

    ``community`` (LeeJunHyun/Image_Segmentation, MONAI): ``gate`` is as large as x; ``theta``,
    ``phi`` and ``psi`` are 1x1 convolutions with bias, each with a norm, and nothing follows.
    Width None is half of x's channels.
    """

    width: int | None = None
    form: Literal["paper", "community"] = "paper"
    stride: int = 2
    norm: Kind = "batch"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], gate: Float[Array, "b *t g"], *, train: bool
    ) -> Float[Array, "b *s c"]:
        """``x`` weighted by the gate; same size and channels.

        Raises UserError where x is smaller than the stride, or the community's gate of a size
        that is not x's.
        """
        self._check(x, gate)
        c, paper = x.shape[-1], self.form == "paper"
        width = self.width or (c if paper else max(1, c // 2))
        step = self.stride if paper else 1
        theta = self._conv(width, "theta", step, use_bias=not paper)(x)
        phi = self._conv(width, "phi")(gate)
        if paper:
            phi = resize(phi, theta.shape[1:-1], "linear")
        else:
            theta = self._norm("theta_norm")(theta, train=train)
            phi = self._norm("phi_norm")(phi, train=train)
        weight = self._conv(1, "psi")(nn.relu(theta + phi))
        if not paper:
            weight = nn.sigmoid(self._norm("psi_norm")(weight, train=train))
            self.sow("intermediates", "attention", weight)
            return x * spread(weight, x.shape, x.dtype)
        weight = resize(nn.sigmoid(weight), x.shape[1:-1], "linear")
        self.sow("intermediates", "attention", weight)
        weight = spread(weight, x.shape, x.dtype)
        return self._norm("out_norm")(self._conv(c, "out")(x * weight), train=train)

    def _conv(self, features: int, name: str, size: int = 1, use_bias: bool = True) -> Conv:
        return Conv(
            features, kernel_size=size, stride=size, padding=0, use_bias=use_bias, name=name
        )

    def _norm(self, name: str) -> Norm:
        return Norm(self.norm, name=name)

    def _check(self, x: Array, gate: Array) -> None:
        size, of_gate = x.shape[1:-1], gate.shape[1:-1]
        if self.form == "community":
            if size != of_gate:
                raise UserError(
                    f'AttentionGate {self.name}: form="community" needs a gate of size {size}, '
                    f"that of x; it is {of_gate}"
                )
        elif any(isinstance(n, int) and n < self.stride for n in size):
            raise UserError(
                f"AttentionGate {self.name}: stride={self.stride} leaves nothing of size {size}; "
                f"at most {min(size)} does"
            )
