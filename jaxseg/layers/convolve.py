"""One convolution, in the form that is the fastest on the platform it is lowered for.

XLA:CPU runs plain convolutions about as fast as PyTorch, and the special ones many times slower;
each form here says what it was measured to gain. Other platforms keep XLA's own.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

WIDTH = 64
"""Channels up to which groups are joined on CPU."""


class How(NamedTuple):
    """Stride, padding (both sides) and dilation of each spatial axis; groups."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1


def convolve(
    x: Float[Array, "b *s c"], kernel: Float[Array, "*k i o"], how: How
) -> Float[Array, "b *t o"]:
    """Cross-correlation of ``x`` with ``kernel``, which is ``[*kernel, c / groups, c_out]``."""
    whole = functools.partial(_convolve, how=how)
    form = _form_on_cpu(x, kernel, how)
    if form is None:
        return whole(x, kernel)
    cpu = functools.partial(form, how=how)
    return jax.lax.platform_dependent(x, kernel, cpu=cpu, default=whole)


def _form_on_cpu(x: Array, kernel: Array, how: How) -> Callable[..., Array] | None:
    """What was measured to be faster than XLA's own there, if anything was."""
    *taps, channels, features = kernel.shape
    rank = x.ndim - 2
    if how.groups > 1:
        return _depthwise if channels == 1 else _grouped
    if set(taps) == {1}:
        return _pointwise if set(how.padding) == {0} else None
    return _planes if rank == 3 else None


def _convolve(x: Array, kernel: Array, how: How) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=how.stride,
        padding=[(pad, pad) for pad in how.padding],
        rhs_dilation=how.dilation,
        dimension_numbers=channels_last(x.ndim - 2),
        feature_group_count=how.groups,
    )


def _planes(x: Array, kernel: Array, how: How) -> Array:
    """A 3-D convolution as the sum over the kernel's depth of 2-D ones.

    With few channels, as one 2-D convolution of the planes side by side as channels.
    """
    (stride, *strides), (padding, *paddings), (dilation, *dilations), _ = how
    taps, channels = kernel.shape[0], x.shape[-1]
    span = x.shape[1] + 2 * padding - dilation * (taps - 1) - 1  # first to last start of a window
    depth = span // stride + 1
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (padding, padding, 0), *[(0, 0, 0)] * 3])
    planes = [
        jax.lax.slice_in_dim(x, i, i + stride * (depth - 1) + 1, stride, axis=1)
        for i in range(0, dilation * taps, dilation)
    ]
    kernels = list(kernel)
    if channels <= 8:
        planes = [jnp.concatenate(planes, axis=-1)]
        kernels = [jnp.concatenate(kernels, axis=-2)]
    total = None
    for plane, part in zip(planes, kernels, strict=True):
        flat = plane.reshape(-1, *plane.shape[2:])
        y = _convolve(flat, part, How(tuple(strides), tuple(paddings), tuple(dilations)))
        total = y if total is None else total + y
    assert total is not None
    return total.reshape(x.shape[0], depth, *total.shape[1:])


def _pointwise(x: Array, kernel: Array, how: How) -> Array:
    """A 1x1 convolution as one matmul: half the time."""
    if math.prod(how.stride) > 1:
        x = jax.lax.slice(x, (0,) * x.ndim, x.shape, (1, *how.stride, 1))
    kernel = kernel.reshape(kernel.shape[-2:])
    return jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))


def _depthwise(x: Array, kernel: Array, how: How) -> Array:
    """One filter a channel as a sum of shifted products, which XLA fuses: a tenth of the time."""
    multiplier = kernel.shape[-1] // x.shape[-1]
    x = jnp.repeat(x, multiplier, axis=-1) if multiplier > 1 else x
    total = None
    for tap, shifted in _taps(x, kernel.shape[:-2], how):
        product = shifted * jnp.expand_dims(kernel[*tap, 0], tuple(range(x.ndim - 1)))
        total = product if total is None else total + product
    assert total is not None
    return total


def _taps(x: Array, size: tuple[int, ...], how: How) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each tap of the kernel the pixels that it meets, in the output's shape."""
    zero = jnp.zeros((), x.dtype)
    x = jax.lax.pad(x, zero, [(0, 0, 0), *((p, p, 0) for p in how.padding), (0, 0, 0)])
    spans = [n - d * (k - 1) for n, d, k in zip(x.shape[1:-1], how.dilation, size, strict=True)]
    for tap in itertools.product(*(range(k) for k in size)):
        start = [d * i for d, i in zip(how.dilation, tap, strict=True)]
        stop = [o + n for o, n in zip(start, spans, strict=True)]
        edges = (0, *start, 0), (x.shape[0], *stop, x.shape[-1])
        yield tap, jax.lax.slice(x, *edges, (1, *how.stride, 1))


def _grouped(x: Array, kernel: Array, how: How) -> Array:
    """A convolution of few groups, each several of the given ones with zeros between them.

    XLA:CPU's own takes hundreds of times as long as PyTorch's. To multiply by zeros is cheap
    against a small convolution for each group.
    """
    *size, channels, features = kernel.shape
    features //= how.groups
    fitting = [n for n in range(1, how.groups + 1) if how.groups % n == 0 and n * channels <= WIDTH]
    joined = max(fitting, default=1)
    blocks = kernel.reshape(*size, channels, how.groups // joined, 1, joined, features)
    blocks = jnp.moveaxis(blocks, len(size), -3)  # [*size part 1 channels joined features]
    diagonal = jnp.eye(joined, dtype=kernel.dtype).reshape(joined, 1, joined, 1)
    blocks = blocks * jnp.expand_dims(diagonal, tuple(range(len(size) + 1)))
    blocks = blocks.reshape(*size, -1, joined * channels, joined * features)
    form = _planes if len(size) == 3 else _convolve
    parts = [
        form(part, blocks[..., i, :, :], how=how._replace(groups=1))
        for i, part in enumerate(jnp.split(x, how.groups // joined, axis=-1))
    ]
    return jnp.concatenate(parts, axis=-1)


def channels_last(rank: int) -> jax.lax.ConvDimensionNumbers:
    """Dimension numbers of ``[b *spatial c]`` images and ``[*spatial c_in c_out]`` kernels."""
    space = tuple(range(1, rank + 1))
    image = (0, rank + 1, *space)
    return jax.lax.ConvDimensionNumbers(image, (rank + 1, rank, *range(rank)), image)
