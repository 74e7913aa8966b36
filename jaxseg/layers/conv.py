"""Convolution with PyTorch's padding, any spatial rank."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Conv(nn.Module):
    """Cross-correlation; the spatial rank is the input's, the compute dtype is the input's.

    ``padding`` is given on both sides of each axis. None keeps the size at stride 1, and pads
    stride 2 as PyTorch does: ``(1, 1)`` for a kernel of 3, where 'SAME' would pad ``(0, 1)`` on
    even sizes and shift the result. The kernel is ``[*kernel, c_in / groups, c_out]``, drawn as
    He et al. 2015 propose (fan in, gain sqrt 2), https://arxiv.org/abs/1502.01852.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: int | None = None
    groups: int = 1
    use_bias: bool = True
    param_dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t {self.features}"]:
        """Convolve."""
        rank = x.ndim - 2
        shape = (*(self.kernel_size,) * rank, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape, self.param_dtype)
        kernel = jnp.asarray(kernel, x.dtype)
        reach = self.dilation * (self.kernel_size - 1)
        padding = reach // 2 if self.padding is None else self.padding
        if (self.kernel_size, self.stride, self.groups, padding) == (1, 1, 1, 0):
            # One matmul: half the time of XLA:CPU's convolution, and what GPUs lower it to anyway.
            y = jax.lax.dot_general(
                x, kernel.reshape(shape[-2:]), (((x.ndim - 1,), (0,)), ((), ()))
            )
        else:
            y = convolve(x, kernel, (self.stride, padding, self.dilation, self.groups))
        return add_bias(self, y, self.param_dtype) if self.use_bias else y


def convolve(
    x: Float[Array, "b *s c"], kernel: Float[Array, "*k i o"], how: tuple[int, int, int, int]
) -> Float[Array, "b *t o"]:
    """The convolution itself; ``how`` is stride, padding, dilation and groups."""
    whole = functools.partial(_convolve, how=how)
    if x.ndim == 5 and how[-1] == 1:
        # XLA:CPU's own is 9-15 times slower than PyTorch's in 3-D, the planes 2-3 times.
        planes = functools.partial(_convolve_planes, how=how)
        return jax.lax.platform_dependent(x, kernel, cpu=planes, default=whole)
    return whole(x, kernel)


def _convolve(x: Array, kernel: Array, how: tuple[int, int, int, int]) -> Array:
    rank, (stride, padding, dilation, groups) = x.ndim - 2, how
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride,) * rank,
        padding=((padding, padding),) * rank,
        rhs_dilation=(dilation,) * rank,
        dimension_numbers=channels_last(rank),
        feature_group_count=groups,
    )


def _convolve_planes(x: Array, kernel: Array, how: tuple[int, int, int, int]) -> Array:
    """A 3-D convolution as the sum over the kernel's depth of 2-D ones.

    With few channels, as one 2-D convolution of the planes side by side as channels.
    """
    stride, padding, dilation, _ = how
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
        y = _convolve(flat, part, how)
        total = y if total is None else total + y
    assert total is not None
    return total.reshape(x.shape[0], depth, *total.shape[1:])


def channels_last(rank: int) -> jax.lax.ConvDimensionNumbers:
    """Dimension numbers of ``[b *spatial c]`` images and ``[*spatial c_in c_out]`` kernels."""
    space = tuple(range(1, rank + 1))
    image = (0, rank + 1, *space)
    return jax.lax.ConvDimensionNumbers(image, (rank + 1, rank, *range(rank)), image)


def add_bias(
    module: nn.Module, y: Float[Array, "b *s c"], param_dtype: str
) -> Float[Array, "b *s c"]:
    """Add the parameter ``bias`` of ``module``, one number a channel, zero at first."""
    bias = module.param("bias", nn.initializers.zeros, (y.shape[-1],), param_dtype)
    return y + jnp.expand_dims(jnp.asarray(bias, y.dtype), tuple(range(y.ndim - 1)))
