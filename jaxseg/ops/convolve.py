"""One convolution, in the form that is the fastest on the platform it is lowered for.

XLA:CPU runs plain convolutions about as fast as PyTorch, and the special ones many times slower;
each form here says what it was measured to gain. GPUs keep XLA's own but for the gradient of
dilated kernels, other platforms altogether.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops import windows
from jaxseg.ops.spread import along_channels

WIDTH = 64
"""Channels up to which groups are joined on CPU."""

TILE = 32
"""Features that XLA:CPU's convolution (YNN's) computes at a time."""

FEW = 8
"""Channels up to which planes are convolved side by side."""


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
    on_cpu, on_gpu = _form_on_cpu(x, kernel, how), _form_on_gpu(kernel, how)
    if on_cpu is on_gpu is _convolve:
        return _convolve(x, kernel, how)
    cpu, gpu, whole = (lambda x, k, f=f: f(x, k, how) for f in (on_cpu, on_gpu, _convolve))
    return jax.lax.platform_dependent(x, kernel, cpu=cpu, cuda=gpu, rocm=gpu, default=whole)


def _form_on_gpu(kernel: Array, how: How) -> Callable[..., Array]:
    """XLA's own form but where it misses cuDNN's gradient of the kernel."""
    spread = any(d > 1 and k > 1 for d, k in zip(how.dilation, kernel.shape, strict=False))
    return _dilated if spread and set(how.stride) == {1} else _convolve  # pyright: ignore[reportReturnType]


def _form_on_cpu(x: Array, kernel: Array, how: How) -> Callable[..., Array]:
    """The form that was measured to be faster than XLA's own there, if any was."""
    *taps, channels, features = kernel.shape
    if how.groups > 1:
        return _depthwise if channels == 1 else _grouped
    if set(taps) == {1}:
        return _pointwise if set(how.padding) == {0} else _convolve
    if x.ndim == 5:
        return _planes
    if x.ndim == 4 and _covered(x, kernel, how):
        return _apart  # pyright: ignore[reportReturnType]
    few = x.ndim == 4 and features < TILE <= channels and _shifts(how)
    return _narrowing if few else _convolve


def _shifts(how: How) -> bool:
    """Whether pixel and weight meet in every shift by one: no stride, no dilation."""
    return set(how.stride) == set(how.dilation) == {1}


def _convolve(x: Array, kernel: Array, how: How) -> Array:
    fields = zip(kernel.shape, how.stride, how.padding, how.dilation, strict=False)
    aborts = [each == (2, 2, 1, 1) for each in fields]
    if any(aborts):
        # The gradient of such an axis is a kernel of 2 over pixels 2 apart, with no padding. XLA's
        # simplifier takes that for a group and aborts the process where another axis has more taps
        # than output pixels. Padded beforehand, its gradient has padding.
        edges = tuple((1, 1) if here else (0, 0) for here in aborts)
        x = windows.pad(x, edges, 0)
        left = tuple(0 if here else p for here, p in zip(aborts, how.padding, strict=True))
        how = how._replace(padding=left)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=how.stride,
        padding=[(pad, pad) for pad in how.padding],
        rhs_dilation=how.dilation,
        dimension_numbers=channels_last(x.ndim - 2),
        feature_group_count=how.groups,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dilated(x: Array, kernel: Array, how: How) -> Array:
    """A convolution whose kernel's gradient is that of a plain one: of images in every d-th pixel.

    XLA derives one with a kernel as large as the image and strides, which it does not recognise as
    cuDNN's gradient (``python -m benchmarks.lowered operations`` counts them).
    """
    return _convolve(x, kernel, how)


def _dilated_backward(how: How, residual: tuple[Array, Array], above: Array):
    x, kernel = residual
    to_x = jax.vjp(lambda x: _convolve(x, kernel, how), x)[1](above)[0]
    # Pixel d q + r of the result meets the pixels d (q + t) + r of the padded image, t a tap.
    counts = [-(-m // d) for m, d in zip(above.shape[1:-1], how.dilation, strict=True)]
    longer = [q + k - 1 for q, k in zip(counts, kernel.shape, strict=False)]
    x = _every(x, how.dilation, how.padding, longer)
    above = _every(above, how.dilation, (0,) * len(counts), counts)
    ones = (1,) * len(counts)
    plain = How(ones, (0,) * len(counts), ones, how.groups)
    return to_x, jax.vjp(lambda k: _convolve(x, k, plain), kernel)[1](above)[0]


_dilated.defvjp(lambda x, kernel, how: (_dilated(x, kernel, how), (x, kernel)), _dilated_backward)


def _every(x: Array, steps: tuple[int, ...], before: tuple[int, ...], counts: list[int]) -> Array:
    """``[b *s c] -> [b prod(steps) *counts c]``: the image in every step-th pixel, an image each.

    With ``before`` zeros in front, and as many behind as ``counts`` pixels a phase ask for.
    """
    edges = [
        (low, d * count - n - low, 0)
        for n, d, low, count in zip(x.shape[1:-1], steps, before, counts, strict=True)
    ]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    pairs = [n for pair in zip(counts, steps, strict=True) for n in pair]
    x = x.reshape(x.shape[0], *pairs, x.shape[-1])
    rank = len(steps)
    order = (0, *range(2, 2 * rank + 1, 2), *range(1, 2 * rank, 2), 2 * rank + 1)
    return x.transpose(order).reshape(-1, *counts, x.shape[-1])


def _covered(x: Array, kernel: Array, how: How) -> bool:
    """Whether the kernel is larger than the image, as at the coarsest level of a V-Net."""
    taps, size = kernel.shape[:-2], x.shape[1:-1]
    known = all(isinstance(n, int) for n in size)  # not the symbolic ones of jax.export
    return known and max(taps) >= 5 and math.prod(size) < math.prod(taps) and _shifts(how)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _apart(x: Array, kernel: Array, how: How) -> Array:
    """A convolution whose padding is written first: XLA would take the image for the kernel.

    A volume of 4^3, 5^3 taps, 256 to 256 channels: 0.08 s for 8 s of CPU without XLA's
    optimisations, as tests run; with them XLA's own took 1.4 s. The gradient was slower so.
    """
    x = jax.lax.optimization_barrier(windows.pad(x, tuple((p, p) for p in how.padding), 0))
    return _convolve(x, kernel, how._replace(padding=(0,) * len(how.padding)))


def _apart_backward(how: How, residual: tuple[Array, Array], above: Array):
    return jax.vjp(lambda x, k: _convolve(x, k, how), *residual)[1](above)


_apart.defvjp(lambda x, kernel, how: (_apart(x, kernel, how), (x, kernel)), _apart_backward)


def _narrowing(x: Array, kernel: Array, how: How) -> Array:
    """A convolution to so few features that half of a tile idles in the gradient of the kernel.

    That is a convolution of x with the output's gradient as kernel, whose features are these few;
    in exchanged roles they are x's channels. A third of the time at 128^2, 32 to 16 channels.
    """
    return _with_wide_gradient(x, kernel, how)  # pyright: ignore[reportReturnType]


_with_wide_gradient = jax.custom_vjp(_convolve, nondiff_argnums=(2,))


def _narrowing_backward(how: How, residual: tuple[Array, Array], above: Array):
    x, kernel = residual
    to_x = jax.vjp(lambda x: _convolve(x, kernel, how), x)[1](above)[0]
    size = kernel.shape[:-2]
    across = how._replace(padding=tuple(k - 1 - p for k, p in zip(size, how.padding, strict=True)))
    turned = jnp.zeros((*size, kernel.shape[-1], kernel.shape[-2]), kernel.dtype)
    to_turned = jax.vjp(lambda k: _convolve(above, k, across), turned)[1](x)[0]
    return to_x, jnp.flip(to_turned, range(len(size))).swapaxes(-1, -2)


_with_wide_gradient.defvjp(
    lambda x, kernel, how: (_convolve(x, kernel, how), (x, kernel)), _narrowing_backward
)


def _planes(x: Array, kernel: Array, how: How) -> Array:
    """A 3-D convolution by 2-D ones of its planes, in a third to a tenth of the time."""
    features = kernel.shape[-1]
    if features < TILE and x.shape[-1] > FEW and _shifts(how):
        return _planes_side_by_side(x, kernel, how)
    return _planes_summed(x, kernel, how)


def _planes_summed(x: Array, kernel: Array, how: How) -> Array:
    """The sum over the kernel's depth of 2-D convolutions.

    With few channels, one 2-D convolution of the planes side by side as channels.
    """
    (stride, *strides), (padding, *paddings), (dilation, *dilations), _ = how
    flat = How(tuple(strides), tuple(paddings), tuple(dilations))
    taps = kernel.shape[0]
    span = x.shape[1] + 2 * padding - dilation * (taps - 1) - 1  # first to last start of a window
    depth = span // stride + 1
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (padding, padding, 0), *[(0, 0, 0)] * 3])
    planes = [
        jax.lax.slice_in_dim(x, i, i + stride * (depth - 1) + 1, stride, axis=1)
        for i in range(0, dilation * taps, dilation)
    ]
    kernels = list(kernel)
    if x.shape[-1] <= FEW:
        planes = [jnp.concatenate(planes, axis=-1)]
        kernels = [jnp.concatenate(kernels, axis=-2)]
    total = None
    for plane, part in zip(planes, kernels, strict=True):
        plane = plane.reshape(-1, *plane.shape[2:])
        form = _apart if _covered(plane, part, flat) else _convolve
        y: Array = form(plane, part, flat)  # pyright: ignore[reportAssignmentType]
        total = y if total is None else total + y
    assert total is not None
    return total.reshape(x.shape[0], depth, *total.shape[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _planes_side_by_side(x: Array, kernel: Array, how: How) -> Array:
    """One 2-D convolution to the features of all taps, then their sum over the planes.

    For few features: two thirds of the sum's time at 64^3, 16 or 32 to 16 channels; not so its
    derivative.
    """
    taps, features = kernel.shape[0], kernel.shape[-1]
    pad = how.padding[0]
    flat = How(how.stride[1:], how.padding[1:], how.dilation[1:])
    y = _convolve(x.reshape(-1, *x.shape[2:]), jnp.concatenate(list(kernel), axis=-1), flat)
    y = y.reshape(*x.shape[:2], *y.shape[1:])
    zero, total = jnp.zeros((), x.dtype), None
    for tap in range(taps):
        part = y[..., tap * features : (tap + 1) * features]
        edges = (pad - tap, pad - (taps - 1 - tap), 0)
        part = jax.lax.pad(part, zero, [(0, 0, 0), edges, *[(0, 0, 0)] * 3])
        total = part if total is None else total + part
    assert total is not None
    return total


def _side_by_side_backward(how: How, residual: tuple[Array, Array], above: Array):
    x, kernel = residual
    rest = tuple(k - 1 - p for k, p in zip(kernel.shape[:3], how.padding, strict=True))
    turned = jnp.flip(kernel, (0, 1, 2)).swapaxes(-1, -2)
    to_x = _planes(above, turned, how._replace(padding=rest))
    to_kernel = jax.vjp(lambda k: _planes_summed(x, k, how), kernel)[1](above)[0]
    return to_x, to_kernel


_planes_side_by_side.defvjp(
    lambda x, kernel, how: (_planes_side_by_side(x, kernel, how), (x, kernel)),
    _side_by_side_backward,
)


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
        product = shifted * along_channels(kernel[*tap, 0], shifted)
        total = product if total is None else total + product
    assert total is not None
    return total


def _taps(x: Array, size: tuple[int, ...], how: How) -> Iterator[tuple[tuple[int, ...], Array]]:
    """The pixels that each tap of the kernel meets, in the output's shape."""
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
    form = _planes if len(size) == 3 else _convolve
    # Five axes at most: XLA:CPU sums a product of seven wrongly, or ends the process.
    flat = kernel.reshape(-1, 1, channels, how.groups, features)
    diagonal = jnp.eye(joined, dtype=kernel.dtype).reshape(1, joined, 1, joined, 1)
    parts = []
    for i, part in enumerate(jnp.split(x, how.groups // joined, axis=-1)):
        block = flat[..., i * joined : (i + 1) * joined, :] * diagonal
        block = block.reshape(*size, joined * channels, joined * features)
        parts.append(form(part, block, how=how._replace(groups=1)))
    return jnp.concatenate(parts, axis=-1)


def channels_last(rank: int) -> jax.lax.ConvDimensionNumbers:
    """Dimension numbers of ``[b *spatial c]`` images and ``[*spatial c_in c_out]`` kernels."""
    space = tuple(range(1, rank + 1))
    image = (0, rank + 1, *space)
    return jax.lax.ConvDimensionNumbers(image, (rank + 1, rank, *range(rank)), image)
