"""The dense block: each layer sees the outputs of all layers before it."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.layers.activation import Activation
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Affine, Kind, Norm, Statistics


class DenseBlock(nn.Module):
    """``[x, layer 0, layer 1, ...]`` on channels; a layer is norm, ReLU, 3x3 convolution, dropout.

    Densely Connected Convolutional Networks, Huang et al. 2017, https://arxiv.org/abs/1608.06993,
    equation 2; The One Hundred Layers Tiramisu, Jégou et al. 2017,
    https://arxiv.org/abs/1611.09326, table 1. With ``bottleneck`` (4 in DenseNet-B) a norm, ReLU
    and 1x1 convolution to ``bottleneck * growth`` channels come first. Tiramisu's has ``use_bias``
    and a dropout of 0.2, of single numbers (PyTorch ports drop channels).

    ``affine`` and ``epsilon`` are the norms'.

    Tiramisu upsamples the newly made maps alone: ``y[..., x.shape[-1]:]``.
    """

    layers: int
    growth: int
    bottleneck: int | None = None
    dropout: float = 0.0
    use_bias: bool = False
    norm: Kind = "batch"
    activation: Activation = "relu"
    statistics: Statistics = "running"
    affine: Affine = True
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The map has ``c + layers * growth`` channels."""
        for i in range(self.layers):
            y = x
            if self.bottleneck is not None:
                y = self._norm(f"layer{i}_norm1")(y, train=train)
                y = self._conv(self.bottleneck * self.growth, 1, f"layer{i}_conv1")(y)
            step = "" if self.bottleneck is None else "2"
            y = self._norm(f"layer{i}_norm{step}")(y, train=train)
            y = self._conv(self.growth, 3, f"layer{i}_conv{step}")(y)
            if self.dropout:
                y = nn.Dropout(self.dropout, name=f"layer{i}_dropout")(y, deterministic=not train)
            x = jnp.concatenate([x, y], axis=-1)
        return x

    def _norm(self, name: str) -> Norm:
        return Norm(
            self.norm,
            affine=self.affine,
            activation=self.activation,
            epsilon=self.epsilon,
            statistics=self.statistics,
            name=name,
        )

    def _conv(self, features: int, kernel_size: int, name: str) -> Conv:
        return Conv(features, kernel_size, use_bias=self.use_bias or self.norm == "none", name=name)
