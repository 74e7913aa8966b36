"""Normalisation with the moments of the input itself, in the fastest form of the platform."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Channels = Float[Array, "_ c"]
"""A number a channel: of the whole batch (1), or of each image of it."""


class How(NamedTuple):
    """Moments over the batch or each image; groups of channels; epsilon; a ReLU after it or not."""

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
    # One pass for the moments and one for both sums of the derivative: XLA would take two and three
    # (of the maps of the U-Net's training step on a GPU that is a fifth of all traffic).
    return jax.lax.platform_dependent(
        x,
        scale,
        bias,
        cpu=functools.partial(_fused, how, _by_squares, _unless_far),
        default=functools.partial(_fused, how, _by_distances, _of_distances),
    )


def scaled(
    x: Float[Array, "b *s c"],
    scale: Channels,
    bias: Channels,
    mean: Channels,
    var: Channels,
    how: How,
) -> Float[Array, "b *s c"]:
    """The normalised map, with given moments."""
    factor = scale * jax.lax.rsqrt(var + how.epsilon)
    factor, shift = (_over_space(a, x) for a in (factor, bias - mean * factor))
    y = (x.astype(jnp.float32) * factor + shift).astype(x.dtype)
    return jax.nn.relu(y) if how.relu else y


Moments = Callable[[How, Array], tuple[Channels, Channels]]
"""Mean and variance of each channel."""

WithX = Callable[[How, Array, Array, Channels, Channels, Channels], Channels]
"""Mean of a gradient times what x is off its mean; given g, x, mean, variance and the mean of g."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _fused(how: How, moments: Moments, with_x: WithX, x: Array, scale: Channels, bias: Channels):
    mean, var = _of_groups(*moments(how, x), how.groups)
    return scaled(x, scale, bias, mean, var, how), mean, var


def _by_squares(how: How, x: Array) -> tuple[Channels, Channels]:
    """Moments by the mean of the squares, less the square of the mean.

    The difference loses digits where the mean is large against the deviation: there, a second pass,
    which changes no image but the one that needs it.
    """
    wide = x.astype(jnp.float32)
    mean = _mean(how, wide)
    var = _mean(how, jnp.square(wide)) - jnp.square(mean)
    far = _far(mean, var)
    var = jax.lax.cond(
        far.any(),
        lambda: jnp.where(far, _mean(how, jnp.square(wide - _over_space(mean, x))), var),
        lambda: var,
    )
    return mean, var


def _by_distances(how: How, x: Array) -> tuple[Channels, Channels]:
    """Moments by the distances from each image's middle pixel, which keep the digits.

    On accelerators, where a choice by the numbers would stop the device; XLA:CPU would write the
    distances out. Each image first, by itself: a batch in parts needs no pixel of another device.
    """
    middle = [n // 2 for n in x.shape[1:-1]]
    first = jax.lax.slice(x, (0, *middle, 0), (x.shape[0], *(m + 1 for m in middle), x.shape[-1]))
    first = first.astype(jnp.float32)
    away, pixels = x.astype(jnp.float32) - first, tuple(range(1, x.ndim - 1))
    off = away.mean(pixels)  # [b c]
    var = jnp.maximum(jnp.square(away).mean(pixels) - jnp.square(off), 0.0)
    mean = off + first.reshape(off.shape)
    if not how.over_batch:
        return mean, var
    whole = mean.mean(0, keepdims=True)
    return whole, (var + jnp.square(mean - whole)).mean(0, keepdims=True)


def _unless_far(how: How, g: Array, wide: Array, mean: Channels, var: Channels, g_mean: Channels):
    """The mean of g times the distance of x, by means of products where the digits allow it.

    XLA:CPU then reads g and x once for this and for the mean of g.
    """
    return jax.lax.cond(
        _far(mean, var).any(),
        lambda: _of_distances(how, g, wide, mean, var, g_mean),
        lambda: _mean(how, g * wide) - mean * g_mean,
    )


def _of_distances(how: How, g: Array, wide: Array, mean: Channels, *_) -> Channels:
    return _mean(how, g * (wide - _over_space(mean, wide)))


def _forward(
    how: How, moments: Moments, with_x: WithX, x: Array, scale: Channels, bias: Channels
) -> tuple:
    found: Any = _fused(how, moments, with_x, x, scale, bias)
    y, mean, var = found
    return (y, mean, var), (x, scale, bias, mean, var)


def _backward(how: How, _: Moments, with_x: WithX, residual: tuple, cotangents: tuple):
    """The gradient of Ioffe & Szegedy 2015, section 3; through the moments it comes in two sums."""
    x, scale, bias, mean, var = residual
    above, to_mean, to_var = cotangents
    wide, g = x.astype(jnp.float32), above.astype(jnp.float32)
    deviation = jax.lax.rsqrt(var + how.epsilon)
    factor = scale * deviation
    if how.relu:
        kept = wide * _over_space(factor, x) + _over_space(bias - mean * factor, x) > 0
        g = jnp.where(kept, g, 0)
    g_mean, centred = _mean(how, g), wide - _over_space(mean, x)
    gx_mean = deviation * with_x(how, g, wide, mean, var, g_mean)
    count = x.size // (mean.shape[0] * x.shape[-1])
    # What comes through the moments: all channels of a group share it.
    through_mean = _shared(to_mean / count - factor * g_mean, how.groups)
    slope = _shared(2 * to_var / count - factor * gx_mean * deviation, how.groups)
    to_x = g * _over_space(factor, x) + centred * _over_space(slope, x)
    to_x += _over_space(through_mean, x)
    to_scale, to_bias = ((count * a).sum(0, keepdims=True) for a in (gx_mean, g_mean))
    return to_x.astype(x.dtype), to_scale, to_bias


_fused.defvjp(_forward, _backward)


def _far(mean: Channels, var: Channels) -> Array:
    """Where a mean lies over two deviations from zero, so that sums of x lose digits."""
    return jnp.square(mean) > 4 * var


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
