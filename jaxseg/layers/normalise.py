"""Normalisation with the moments of the input itself, in the fastest form of the platform."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Channels = Float[Array, "_ c"]
"""A number a channel: of the whole batch (1), or of each image of it."""


class How(NamedTuple):
    """Whether moments go over the batch; groups of channels; epsilon; whether a ReLU follows."""

    over_batch: bool
    groups: int
    epsilon: float
    relu: bool


def normalise(
    x: Float[Array, "b *s c"], scale: Channels, bias: Channels, how: How
) -> tuple[Float[Array, "b *s c"], Channels, Channels]:
    """``relu((x - mean) / sqrt(var + epsilon) * scale + bias)``, and the moments it used.

    Moments are float32, over space, over the batch if so, and over the channels of a group.
    """
    # XLA:CPU takes twice as long for the equations and their derivative as for the fused form.
    return jax.lax.platform_dependent(
        x,
        scale,
        bias,
        cpu=functools.partial(_fused, how),
        default=functools.partial(_plain, how),
    )


def scaled(
    x: Float[Array, "b *s c"],
    scale: Channels,
    bias: Channels,
    mean: Channels,
    var: Channels,
    how: How,
) -> Float[Array, "b *s c"]:
    """The same with given moments."""
    factor = scale * jax.lax.rsqrt(var + how.epsilon)
    factor, shift = (_over_space(a, x) for a in (factor, bias - mean * factor))
    y = (x.astype(jnp.float32) * factor + shift).astype(x.dtype)
    return jax.nn.relu(y) if how.relu else y


def _plain(how: How, x: Array, scale: Channels, bias: Channels):
    axes, wide = _axes(how, x), x.astype(jnp.float32)
    mean = wide.mean(axes, keepdims=True)
    # Two passes: the square of the mean taken from the mean of squares loses all digits where
    # the mean is large against the deviation.
    var = jnp.square(wide - mean).mean(axes)
    moments = _of_groups(mean.reshape(-1, x.shape[-1]), var.reshape(-1, x.shape[-1]), how.groups)
    return scaled(x, scale, bias, *moments, how), *moments


def _one_pass(how: How, x: Array, scale: Channels, bias: Channels):
    wide = x.astype(jnp.float32)
    mean = _mean(how, wide)
    var = _mean(how, jnp.square(wide)) - jnp.square(mean)
    # The difference loses digits where the mean is large against the deviation: there, a second
    # pass. (The distances from one pixel would keep them, but XLA:CPU writes those out.)
    var = jax.lax.cond(
        _far(mean, var),
        lambda: _mean(how, jnp.square(wide - _over_space(mean, x))),
        lambda: var,
    )
    moments = _of_groups(mean, var, how.groups)
    return scaled(x, scale, bias, *moments, how), *moments


def _forward(how: How, x: Array, scale: Channels, bias: Channels):
    y, mean, var = _one_pass(how, x, scale, bias)
    return (y, mean, var), (x, scale, bias, mean, var)


def _backward(how: How, residual: tuple, cotangents: tuple):
    """Ioffe & Szegedy 2015, section 3, with what comes through the moments in two sums."""
    x, scale, bias, mean, var = residual
    above, to_mean, to_var = cotangents
    wide, g = x.astype(jnp.float32), above.astype(jnp.float32)
    deviation = jax.lax.rsqrt(var + how.epsilon)
    factor = scale * deviation
    if how.relu:
        kept = wide * _over_space(factor, x) + _over_space(bias - mean * factor, x) > 0
        g = jnp.where(kept, g, 0)
    g_mean, centred = _mean(how, g), wide - _over_space(mean, x)
    gx_mean = deviation * jax.lax.cond(
        _far(mean, var),
        lambda: _mean(how, g * centred),
        lambda: _mean(how, g * wide) - mean * g_mean,
    )
    count = x.size // (mean.shape[0] * x.shape[-1])
    # What comes through the moments: all channels of a group share it.
    through_mean = _shared(to_mean / count - factor * g_mean, how.groups)
    slope = _shared(2 * to_var / count - factor * gx_mean * deviation, how.groups)
    to_x = g * _over_space(factor, x) + centred * _over_space(slope, x)
    to_x += _over_space(through_mean, x)
    to_scale, to_bias = ((count * a).sum(0, keepdims=True) for a in (gx_mean, g_mean))
    return to_x.astype(x.dtype), to_scale, to_bias


_fused = jax.custom_vjp(_one_pass, nondiff_argnums=(0,))
_fused.defvjp(_forward, _backward)


def _far(mean: Channels, var: Channels) -> Array:
    """Whether a mean lies over two deviations from zero, so that sums of x lose digits."""
    return (jnp.square(mean) > 4 * var).any()


def _axes(how: How, x: Array) -> tuple[int, ...]:
    return tuple(range(0 if how.over_batch else 1, x.ndim - 1))


def _mean(how: How, x: Array) -> Channels:
    return x.mean(_axes(how, x)).reshape(-1, x.shape[-1])


def _over_space(a: Channels, x: Array) -> Array:
    return jnp.expand_dims(a, tuple(range(1, x.ndim - 1)))


def _shared(a: Channels, groups: int) -> Channels:
    """Each channel gets the mean of its group."""
    if groups == a.shape[1]:
        return a
    split = a.reshape(a.shape[0], groups, -1)
    return jnp.broadcast_to(split.mean(-1, keepdims=True), split.shape).reshape(a.shape)


def _of_groups(mean: Channels, var: Channels, groups: int) -> tuple[Channels, Channels]:
    """Moments of groups from those of their channels: within each, and between their means."""
    if groups == mean.shape[1]:
        return mean, var
    shared = _shared(mean, groups)
    return shared, _shared(var + jnp.square(mean - shared), groups)
