"""Convolution with PyTorch's padding, any spatial rank."""

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
            y = jax.lax.conv_general_dilated(
                x,
                kernel,
                window_strides=(self.stride,) * rank,
                padding=((padding, padding),) * rank,
                rhs_dilation=(self.dilation,) * rank,
                dimension_numbers=channels_last(rank),
                feature_group_count=self.groups,
            )
        return add_bias(self, y, self.param_dtype) if self.use_bias else y


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
