"""Transposed convolution: PyTorch's ``ConvTranspose``, any spatial rank."""

import functools
import itertools
import math
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv import add_bias
from jaxseg.ops import How, Size, convolve, per_axis
from jaxseg.ops.convolve import channels_last


class TransposedConv(nn.Module):
    """``y[s i + a - padding] += x[i] @ kernel[a]``: each pixel becomes a block, blocks may overlap.

    ``kernel_size`` None is the stride: the up-convolution of the U-Net. Sizes are one number, or
    one for each axis; ``(n - 1) stride - 2 padding + kernel_size + output_padding`` a side. The
    kernel is ``[*kernel_size, c_in / groups, c_out]``, in PyTorch's order: not flipped (PyTorch's
    weight is ``[c_in, c_out / groups, *kernel_size]``). At first it is drawn as in `Conv`, or
    ``bilinear``: interpolates each channel by itself, with zeros around the map (FCN). UserError
    where ``output_padding`` is not below the stride, groups do not divide, or nothing would be
    left.
    """

    features: int
    stride: Size = 2
    kernel_size: Size | None = None
    padding: Size = 0
    output_padding: Size = 0
    groups: int = 1
    use_bias: bool = True
    kernel_init: Literal["he", "bilinear"] = "he"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t {self.features}"]:
        """A map with each axis about ``stride`` times as long."""
        how = self._how(x.shape)
        shape = (*how.kernel, x.shape[-1] // self.groups, self.features)
        init = _bilinear if self.kernel_init == "bilinear" else _he(how)
        kernel = jnp.asarray(self.param("kernel", init, shape, jnp.float32), x.dtype)
        y = _transposed(x, kernel, how)
        return add_bias(self, y) if self.use_bias else y

    def _how(self, shape: tuple) -> "_How":
        rank, name = len(shape) - 2, f"TransposedConv {self.name}"
        stride, padding, output_padding = (
            per_axis(getattr(self, field), rank, f"{name}: {field}")
            for field in ("stride", "padding", "output_padding")
        )
        size = stride if self.kernel_size is None else self.kernel_size
        kernel = per_axis(size, rank, f"{name}: kernel_size")
        if any(o >= s for o, s in zip(output_padding, stride, strict=True)):
            raise UserError(
                f"{name}: output_padding={output_padding} is not below stride={stride}; "
                f"up to {tuple(s - 1 for s in stride)} fits"
            )
        how = _How(stride, kernel, padding, output_padding, self.groups)
        out = how.size(shape[1:-1])
        if any(isinstance(n, int) and n < 1 for n in out):
            raise UserError(
                f"{name}: padding={padding} leaves {out} of an image of {shape[1:-1]}; "
                f"with 0 it would be {how._replace(padding=(0,) * rank).size(shape[1:-1])}"
            )
        if shape[-1] % self.groups or self.features % self.groups:
            fitting = math.gcd(shape[-1], self.features, self.groups)
            raise UserError(
                f"{name}: groups={self.groups} does not divide both {shape[-1]} channels and "
                f"{self.features} features; {fitting} does"
            )
        return how


class _How(NamedTuple):
    stride: tuple[int, ...]
    kernel: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int

    def size(self, sizes: tuple) -> tuple:
        """The size of the result."""
        return tuple(
            (n - 1) * s - 2 * p + k + o for n, s, k, p, o in zip(sizes, *self[:4], strict=True)
        )


def _he(how: _How) -> nn.initializers.Initializer:
    """Each output pixel sees c_in numbers of 1 in stride taps: the fan in of He's rule."""
    seen = math.prod(how.stride) / math.prod(how.kernel)
    return nn.initializers.variance_scaling(
        2.0 * seen, "fan_in", "truncated_normal", batch_axis=range(len(how.kernel))
    )


def _bilinear(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """``1 - |i - centre| / f`` along each axis, ``f = (k + 1) // 2``; no channel meets another."""
    del key
    *size, channels, features = shape
    ramps = [1 - abs(np.arange(k) - (k - 1) / 2) / ((k + 1) // 2) for k in size]
    taps = functools.reduce(np.multiply.outer, ramps)
    return jnp.asarray(np.multiply.outer(taps, np.eye(channels, features)), dtype)


def _transposed(x: Array, kernel: Array, how: _How) -> Array:
    """The form of the platform: XLA:CPU's own takes 7-90 times PyTorch's time in training.

    Ours takes 0.9-2.5 (a 3-D kernel of 4 at stride 2: 5; a group for each channel: 24, not 270).
    """
    if set(x.shape[1:-1]) == {1} and not any(how.output_padding):
        # One pixel becomes the kernel, whatever the stride; of this one, kernels do not overlap.
        how = how._replace(stride=how.kernel)
    elif set(how.stride) == {1} and all(
        p < k for p, k in zip(how.padding, how.kernel, strict=True)
    ):
        return _unstrided(x, kernel, how)
    blocks, whole = functools.partial(_blocks, how), functools.partial(_whole, how)
    return jax.lax.platform_dependent(x, kernel, cpu=blocks, default=whole)


def _unstrided(x: Array, kernel: Array, how: _How) -> Array:
    """At a stride of 1, the convolution with the kernel turned around."""
    rank = x.ndim - 2
    edges = tuple(k - 1 - p for k, p in zip(how.kernel, how.padding, strict=True))
    plain = How((1,) * rank, edges, (1,) * rank, how.groups)
    return convolve(x, jnp.flip(kernel, range(rank)), plain)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _whole(how: _How, x: Array, kernel: Array) -> Array:
    """XLA's own form: a convolution of x with zeros between its pixels."""
    rank = x.ndim - 2
    edges = [
        (k - 1 - p, k - 1 - p + o)
        for k, p, o in zip(how.kernel, how.padding, how.output_padding, strict=True)
    ]
    # XLA's simplifier aborts the process for some kernels of 2 over pixels 2 apart without padding
    # (see ops.convolve): those get a pixel more on either side, which is cut off again.
    axes = zip(how.stride, how.kernel, edges, strict=True)
    aborts = [each == (2, 2, (0, 0)) for each in axes]
    edges = [(1, 1) if here else edge for here, edge in zip(aborts, edges, strict=True)]
    y = jax.lax.conv_general_dilated(
        x,
        jnp.flip(kernel, range(rank)),
        window_strides=(1,) * rank,
        padding=edges,
        lhs_dilation=how.stride,
        dimension_numbers=channels_last(rank),
        feature_group_count=how.groups,
    )
    cut = (slice(1, -1) if here else slice(None) for here in aborts)
    return y[(slice(None), *cut)] if any(aborts) else y


def _whole_backward(how: _How, residual: tuple[Array, Array], gradient: Array):
    """The gradients of the strided convolution whose transpose this is, in exchanged roles.

    XLA derives for the kernel a convolution with a kernel as large as the image, for which cuDNN
    has no good program (jax issue 31662): 20 of the 73 ms of the 31 M U-Net's step on an H100. In
    3-D this form is as fast there as the CPU's matmuls.
    """
    x, kernel = residual
    *taps, i, o = kernel.shape
    split = kernel.reshape(*taps, i, how.groups, o // how.groups)

    def strided(split: Array) -> Array:
        turned = jnp.moveaxis(split, (-1, -2, -3), (-3, -2, -1))  # [*taps o groups i]
        return jax.lax.conv_general_dilated(
            gradient,
            turned.reshape(*taps, o // how.groups, how.groups * i),
            window_strides=how.stride,
            padding=[(p, p) for p in how.padding],
            dimension_numbers=channels_last(x.ndim - 2),
            feature_group_count=how.groups,
        )

    to_x, back = jax.vjp(strided, split)
    return to_x, back(x)[0].reshape(kernel.shape)


_whole.defvjp(lambda how, x, kernel: (_whole(how, x, kernel), (x, kernel)), _whole_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _blocks(how: _How, x: Array, kernel: Array) -> Array:
    return _forward(how, x, kernel)


def _backward(how: _How, residual: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    """Two matmuls with the pixels that each pixel of x had its part in, taken by number."""
    x, kernel = residual
    rank, around, places = x.ndim - 2, [], []
    for axis, (s, k, p, o) in enumerate(zip(*how[:4], strict=True)):
        around.append((p, max(p - o, 0), 0))
        place = s * jnp.arange(x.shape[1 + axis])[:, None] + jnp.arange(k)[None]
        places.append(jnp.expand_dims(place, [a for a in range(2 * rank) if a % rank != axis]))
    gradient = jax.lax.pad(gradient, jnp.zeros((), gradient.dtype), [(0, 0, 0), *around, (0, 0, 0)])
    seen = gradient.at[(slice(None), *places)].get(mode="promise_in_bounds")  # [b *n *k c]
    *taps, i, o = kernel.shape
    x = x.reshape(*x.shape[:-1], how.groups, i)
    seen = seen.reshape(*x.shape[: 1 + rank], math.prod(taps), how.groups, o // how.groups)
    split = kernel.reshape(math.prod(taps), i, how.groups, o // how.groups)
    if how.groups == 1:
        x, seen, split = x[..., 0, :], seen[..., 0, :], split[:, :, 0]
        back = jax.lax.dot_general(seen, split, (((1 + rank, 2 + rank), (0, 2)), ((), ())))
        pixels = tuple(range(1 + rank))
        dkernel = jax.lax.dot_general(x, seen, ((pixels, pixels), ((), ())))  # [i taps o]
        return back, dkernel.swapaxes(0, 1).reshape(kernel.shape)
    back = jnp.einsum("...tgo,tigo->...gi", seen, split)
    dkernel = jnp.einsum("...gi,...tgo->tigo", x, seen)
    return back.reshape(residual[0].shape), dkernel.reshape(kernel.shape)


_blocks.defvjp(lambda how, x, kernel: (_forward(how, x, kernel), (x, kernel)), _backward)


def _forward(how: _How, x: Array, kernel: Array) -> Array:
    """The transposed convolution by matmuls, sums and one depth-to-space.

    A kernel longer than its stride is cut into parts as long as the stride. Each makes of a pixel
    one block of the result; that of part q lands q blocks further on.
    """
    rank, zero = x.ndim - 2, jnp.zeros((), x.dtype)
    parts = [-(-k // s) for k, s in zip(how.kernel, how.stride, strict=True)]
    total = None
    for part in itertools.product(*map(range, parts)):
        cut = tuple(slice(s * q, s * q + s) for q, s in zip(part, how.stride, strict=True))
        block = _matmul(x, kernel[cut], how.groups)  # [b *n *taps c]
        onward = [(q, m - 1 - q, 0) for q, m in zip(part, parts, strict=True)]
        rest = [(0, s - t, 0) for s, t in zip(how.stride, block.shape[1 + rank : -1], strict=True)]
        if max(sum(edge) for edge in onward + rest):
            block = jax.lax.pad(block, zero, [(0, 0, 0), *onward, *rest, (0, 0, 0)])
        total = block if total is None else total + block
    assert total is not None
    order = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
    y = total.transpose(0, *order, 1 + 2 * rank)
    lengths = [s * (n + m - 1) for s, n, m in zip(how.stride, x.shape[1:-1], parts, strict=True)]
    y = y.reshape(x.shape[0], *lengths, y.shape[-1])
    # the blocks end at stride * parts behind the last pixel's begin, the result at this much more
    short = [k + o - p - s * m for s, k, p, o, m in zip(*how[:4], parts, strict=True)]
    if max(short) > 0:
        y = jax.lax.pad(y, zero, [(0, 0, 0), *((0, max(e, 0), 0) for e in short), (0, 0, 0)])
    if any(short) or any(how.padding):
        out = how.size(x.shape[1:-1])
        inside = (slice(p, p + n) for p, n in zip(how.padding, out, strict=True))
        y = y[(slice(None), *inside)]
    return y


def _matmul(x: Array, kernel: Array, groups: int) -> Array:
    """``[b *n i], [*taps i o] -> [b *n *taps o]``."""
    rank = x.ndim - 2
    if groups == 1:
        return jax.lax.dot_general(x, kernel, (((rank + 1,), (rank,)), ((), ())))
    *taps, i, o = kernel.shape
    x = x.reshape(*x.shape[:-1], groups, i)
    kernel = kernel.reshape(math.prod(taps), i, groups, o // groups)
    return jnp.einsum("...gi,tigo->...tgo", x, kernel).reshape(*x.shape[:-2], *taps, o)
