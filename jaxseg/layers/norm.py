"""Normalisation of activations: batch, group, instance, or none."""

import math
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation, activated
from jaxseg.ops.normalise import Channels, How, normalise, scaled

Kind = Literal["batch", "group", "instance", "none"]

Affine = bool | Literal["twice"]
"""Whether a norm scales and shifts."""

Statistics = Literal["running", "batch"]
"""The moments that a batch norm takes in evaluation."""


class Norm(nn.Module):
    """``activation((x - mean) / sqrt(var + epsilon) * scale + bias)``, moments in float32.

    ``batch``: moments over batch and space when training (those of the global batch when the
    jitted batch is sharded, so it is synchronised by construction), the running ones of
    collection ``batch_stats`` otherwise. Those are ``momentum old + (1 - momentum) new``
    (PyTorch's 0.1 is 0.9 here) of the **biased** variance, as in Flax; PyTorch stores the
    unbiased one. ``group``: moments over space and ``c / groups`` channels; groups None is
    ``gcd(32, c)``, the 32 of Wu & He 2018 where that divides. ``instance``: over space, each
    channel alone. ``none``: the activation only. Without ``affine`` there is no scale and no
    bias (PyTorch's default for instance norm); ``"twice"`` has a second pair behind the first, as
    DenseNets from Caffe have it in Keras: the same function, another way to learn it. With
    ``statistics="batch"`` evaluation takes the moments of its own batch too, so that what a row
    gives depends on the rows beside it; the running ones are kept all the same.
    ``scale_init="zeros"`` is for the last norm of a residual branch, which then adds nothing at
    first (Goyal et al. 2017, https://arxiv.org/abs/1706.02677).
    """

    kind: Kind = "batch"
    groups: int | None = None
    affine: Affine = True
    activation: Activation = "none"
    epsilon: float = 1e-5
    momentum: float = 0.9
    statistics: Statistics = "running"
    scale_init: Literal["ones", "zeros"] = "ones"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """The normalised map. Raises UserError where groups do not divide the channels."""
        if self.kind == "none":
            return activated(self, x, self.activation)
        scale, bias = self._affine(x.shape[-1])
        relu = self.activation == "relu"
        how = How(self.kind == "batch", self._group_count(x.shape[-1]), self.epsilon, relu)
        if self.kind != "batch":
            y, _, _ = normalise(x, scale, bias, how)
        else:
            y = self._batch(x, scale, bias, how, train=train)
        return y if relu else activated(self, y, self.activation)

    def _affine(self, channels: int) -> tuple[Channels, Channels]:
        if not self.affine:
            return jnp.ones((1, channels)), jnp.zeros((1, channels))
        init = nn.initializers.zeros if self.scale_init == "zeros" else nn.initializers.ones
        scale = self.param("scale", init, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        scale, bias = jnp.asarray(scale, jnp.float32), jnp.asarray(bias, jnp.float32)
        if self.affine == "twice":  # one pass over the map all the same
            ones, zeros = nn.initializers.ones, nn.initializers.zeros
            again = jnp.asarray(self.param("scale2", ones, (channels,), jnp.float32))
            shift = jnp.asarray(self.param("bias2", zeros, (channels,), jnp.float32))
            scale, bias = scale * again, bias * again + shift
        return scale[None], bias[None]

    def _batch(self, x, scale, bias, how: How, *, train: bool) -> Array:
        shape = (x.shape[-1],)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        if not train and self.statistics == "running":
            moments = jnp.asarray(mean.value)[None], jnp.asarray(var.value)[None]
            return scaled(x, scale, bias, *moments, how)
        y, *now = normalise(x, scale, bias, how)
        if train and not self.is_initializing():
            keep, add = self.momentum, 1 - self.momentum
            mean.value = keep * mean.value + add * now[0][0]
            var.value = keep * var.value + add * now[1][0]
        return y

    def _group_count(self, channels: int) -> int:
        if self.kind != "group":
            return channels
        groups = self.groups or math.gcd(32, channels)
        if channels % groups:
            raise UserError(
                f"Norm {self.name}: groups={groups} does not divide {channels} channels; "
                f"{math.gcd(groups, channels)} does"
            )
        return groups
