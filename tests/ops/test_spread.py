"""What many pixels share: its values, and a gradient that loses none of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.layers import Conv, TransposedConv
from jaxseg.ops import along_channels, mean_over_space, spread
from jaxseg.sharding import MeshShape


@pytest.mark.parametrize("layer", [Conv(1, kernel_size=1), TransposedConv(1, stride=1)])
def test_a_bias_over_4096_ones_has_the_gradient_4096(layer):
    x = jnp.ones((1, 64, 64, 1), "bfloat16")
    variables = layer.init(jax.random.key(0), x)
    gradient = jax.grad(lambda v: layer.apply(v, x).sum())(variables)["params"]
    np.testing.assert_array_equal(gradient["bias"], [4096])
    np.testing.assert_array_equal(gradient["kernel"].reshape(1), [4096])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_axes_of_size_one_are_repeated_and_summed_over(dtype: str):
    x = jnp.arange(6.0).reshape(2, 1, 3)
    y, back = jax.vjp(lambda x: spread(x, (2, 1000, 3), dtype), x)
    assert y.dtype == dtype and (y == x).all()
    (gradient,) = back(jnp.ones_like(y))
    assert gradient.dtype == x.dtype
    np.testing.assert_array_equal(gradient, jnp.full_like(x, 1000))


def test_one_for_all_channels_gets_the_sum_of_all():
    like = jnp.zeros((2, 5, 3))
    y, back = jax.vjp(lambda p: along_channels(p, like), jnp.array([2.0]))
    assert (y == jnp.full_like(like, 2.0)).all()
    np.testing.assert_array_equal(back(jnp.ones_like(like))[0], [30])
    assert (along_channels(np.array([2.0]), like) == 2.0).all()  # as a checkpoint holds it


def test_the_mean_of_half_precision_keeps_the_digits_of_float32():
    x = jnp.array([1.0, 1.0078125]).astype("bfloat16").reshape(1, 2, 1)  # neighbours in bfloat16
    mean = mean_over_space(x)
    assert mean.dtype == jnp.float32
    np.testing.assert_array_equal(mean, [[[1.00390625]]])


def test_sizes_may_be_symbols():
    (n,) = export.symbolic_shape("n")

    def gradient(x):
        return jax.grad(lambda p: (along_channels(p, x) * x).sum())(jnp.ones(2))

    exported = export.export(jax.jit(gradient))(jax.ShapeDtypeStruct((1, n, 2), jnp.float32))
    np.testing.assert_array_equal(exported.call(jnp.ones((1, 7, 2))), [7, 7])


def test_rows_over_devices_are_summed_over_all():
    mesh = MeshShape(data=2, spatial=2).build()
    x = jnp.ones((2, 8, 4, 3), "bfloat16")
    x = jax.device_put(x, NamedSharding(mesh, P(("data", "fsdp"), "spatial")))
    gradient = jax.jit(jax.grad(lambda p, x: (along_channels(p, x) * x).sum()))(jnp.ones(3), x)
    np.testing.assert_array_equal(gradient, [64] * 3)
