"""The convolution that ends a network: float32 logits of features of any dtype."""

import functools
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.layers.conv import add_bias
from jaxseg.ops import How, Size, convolve, per_axis


class Head(nn.Module):
    """A convolution to float32 logits, from features of the network's dtype; the size stays.

    The gradient that it hands back is of that dtype, as every other layer's: a float32 copy of the
    largest map of the network would be written in either direction. Parameters are those of `Conv`.
    """

    features: int
    kernel_size: Size = 1
    use_bias: bool = True
    kernel_init: Literal["he", "zeros"] = "he"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s {self.features}"]:
        """Logits ``[b *s k]`` in float32."""
        rank = x.ndim - 2
        size = per_axis(self.kernel_size, rank, "kernel_size")
        how = How((1,) * rank, tuple(k // 2 for k in size), (1,) * rank)
        shape = (*size, x.shape[-1], self.features)
        zeros, he = nn.initializers.zeros, nn.initializers.he_normal()
        init = zeros if self.kernel_init == "zeros" else he
        kernel = self.param("kernel", init, shape, jnp.float32)
        kernel = jnp.asarray(kernel, jnp.float32)
        project = convolve if x.dtype == jnp.float32 else _widened
        y: Array = project(x, kernel, how)  # pyright: ignore[reportAssignmentType]
        return add_bias(self, y) if self.use_bias else y


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _widened(x: Array, kernel: Array, how: How) -> Array:
    """The convolution of x in float32; of one tap it is a matmul that widens x as it reads it."""
    wide = x.astype(jnp.float32)
    if math.prod(kernel.shape[:-2]) > 1:
        return convolve(wide, kernel, how)
    return jax.lax.dot_general(wide, kernel.reshape(kernel.shape[-2:]), _channels(x))


def _backward(how: How, residual: tuple[Array, Array], above: Array) -> tuple[Array, Array]:
    x, kernel = residual
    narrow = kernel.astype(x.dtype)
    if math.prod(kernel.shape[:-2]) > 1:
        to_x, to_kernel = jax.vjp(lambda x, k: convolve(x, k, how), x, narrow)[1](
            above.astype(x.dtype)
        )
        return to_x, to_kernel.astype(kernel.dtype)

    def matmul(x: Array, kernel: Array) -> Array:
        kernel = kernel.reshape(kernel.shape[-2:])
        return jax.lax.dot_general(x, kernel, _channels(x), preferred_element_type=jnp.float32)

    to_x, to_kernel = jax.vjp(matmul, x, narrow)[1](above)
    return to_x, to_kernel.astype(kernel.dtype)


_widened.defvjp(lambda x, kernel, how: (_widened(x, kernel, how), (x, kernel)), _backward)


def _channels(x: Array) -> jax.lax.DotDimensionNumbers:
    """The product of the last axis of x with the first of a matrix."""
    return ((x.ndim - 1,), (0,)), ((), ())
