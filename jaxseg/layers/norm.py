"""Normalisation of activations: batch, group, instance, or none."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError

Kind = Literal["batch", "group", "instance", "none"]
EPSILON = 1e-5


class Norm(nn.Module):
    """``(x - mean) / sqrt(var + 1e-5) * scale + bias``, moments in float32 whatever x is.

    ``batch``: moments over batch and space when training (those of the global batch when the
    jitted batch is sharded, so it is synchronised by construction), the running ones of
    collection ``batch_stats`` otherwise. Those are ``0.9 old + 0.1 new`` of the **biased**
    variance, as in Flax; PyTorch stores the unbiased one. ``group``: moments over space and
    ``c / groups`` channels; groups None is ``gcd(32, c)``, the 32 of Wu & He 2018 where that
    divides. ``instance``: over space, each channel alone, affine. ``none``: the identity.
    """

    kind: Kind = "batch"
    groups: int | None = None
    param_dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """Normalise."""
        if self.kind == "none":
            return x
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        if self.kind == "batch":
            mean, var = self._batch_moments(x, train=train)
        else:
            mean, var = _grouped(*_moments(x, range(1, x.ndim - 1)), self._group_count(channels))
        scale, bias = (jnp.asarray(a, jnp.float32)[None] for a in (scale, bias))
        factor = scale * jax.lax.rsqrt(var + EPSILON)
        space = tuple(range(1, x.ndim - 1))
        factor, shift = (jnp.expand_dims(a, space) for a in (factor, bias - mean * factor))
        return (x.astype(jnp.float32) * factor + shift).astype(x.dtype)

    def _batch_moments(self, x, *, train: bool) -> tuple[Float[Array, "1 c"], Float[Array, "1 c"]]:
        shape = (x.shape[-1],)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        if not train:
            return jnp.asarray(mean.value)[None], jnp.asarray(var.value)[None]
        now = _moments(x, range(x.ndim - 1))
        if not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * now[0][0]
            var.value = 0.9 * var.value + 0.1 * now[1][0]
        return now

    def _group_count(self, channels: int) -> int:
        if self.kind == "instance":
            return channels
        groups = self.groups or math.gcd(32, channels)
        if channels % groups:
            raise UserError(
                f"Norm {self.name}: groups={groups} does not divide {channels} channels; "
                f"{math.gcd(groups, channels)} does"
            )
        return groups


def _moments(x, axes) -> tuple[Float[Array, "n c"], Float[Array, "n c"]]:
    x = x.astype(jnp.float32)
    mean = x.mean(axes, keepdims=True)
    # Two passes: the square of the mean taken from the mean of squares loses all digits where
    # the mean is large against the deviation.
    var = jnp.square(x - mean).mean(axes)
    return mean.reshape(-1, x.shape[-1]), var.reshape(-1, x.shape[-1])


def _grouped(mean, var, groups: int) -> tuple[Float[Array, "n c"], Float[Array, "n c"]]:
    split = (mean.shape[0], groups, mean.shape[1] // groups)
    means = mean.reshape(split)
    mean_of_group = means.mean(-1, keepdims=True)
    # Total variance: within channels and between their means.
    var = var.reshape(split) + jnp.square(means - mean_of_group)
    moments = mean_of_group, var.mean(-1, keepdims=True)
    mean, var = (jnp.broadcast_to(a, split).reshape(mean.shape) for a in moments)
    return mean, var
