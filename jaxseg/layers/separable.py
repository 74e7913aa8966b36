"""Depthwise separable convolution: one filter a channel, then a 1x1 convolution that mixes them."""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.layers.activation import Activation, activated
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.ops import Size


class SeparableConv(nn.Module):
    """A chain: ``before``, depthwise, [norm], ``between``, pointwise, norm, ``after``.

    The defaults are MobileNet's (Howard et al. 2017, https://arxiv.org/abs/1704.04861, figure 3).
    Xception's (Chollet 2017, https://arxiv.org/abs/1610.02357, figure 5) is ``before="relu",
    norm_between=False, between="none", after="none"``: nothing between the two convolutions, which
    its section 4.7 found to be better. DeepLab v3+ adds the norm between them and, in its decoder,
    the ReLU after each. A convolution has a bias only where no norm follows. ``epsilon`` is the
    norms'.
    """

    features: int
    kernel_size: Size = 3
    stride: Size = 1
    dilation: Size = 1
    norm: Kind = "batch"
    norm_between: bool = True
    before: Activation = "none"
    between: Activation = "relu"
    after: Activation = "relu"
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """The sizes are as of ``Conv``."""
        between = self.norm if self.norm_between else "none"
        x = activated(self, x, self.before)
        x = Conv(
            x.shape[-1],
            kernel_size=self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            groups=x.shape[-1],
            use_bias=self.norm_between and self.norm == "none",
            name="depthwise",
        )(x)
        x = self._norm(between, self.between, "depthwise_norm")(x, train=train)
        x = Conv(self.features, kernel_size=1, use_bias=self.norm == "none", name="pointwise")(x)
        return self._norm(self.norm, self.after, "pointwise_norm")(x, train=train)

    def _norm(self, kind: Kind, activation: Activation, name: str) -> Norm:
        return Norm(kind, activation=activation, epsilon=self.epsilon, name=name)
