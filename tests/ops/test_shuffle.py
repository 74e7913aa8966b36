"""Pixel shuffle; its numbers stand in test_sampling_golden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxseg.errors import UserError
from jaxseg.ops import pixel_shuffle, pixel_unshuffle


@pytest.mark.parametrize("sizes", [(3,), (3, 5), (2, 3, 2)])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_one_inverts_the_other(sizes, factor):
    shape = (2, *sizes, 3 * factor ** len(sizes))
    x = jax.random.normal(jax.random.key(0), shape, jnp.bfloat16)
    y = pixel_shuffle(x, factor)
    assert y.shape == (2, *(factor * n for n in sizes), 3) and y.dtype == x.dtype
    assert (pixel_unshuffle(y, factor) == x).all()


def test_in_three_dimensions_the_last_axis_is_the_fastest():
    x = jnp.arange(16.0).reshape(1, 1, 1, 1, 16)
    y = pixel_shuffle(x, 2)  # channel 8 d + 4 i + 2 j + k
    assert y[0, 1, 0, 1, 1] == 8 + 4 + 1


def test_free_sizes_can_be_exported():
    h, w = export.symbolic_shape("h, w")
    exported = export.export(jax.jit(lambda x: pixel_shuffle(x, 2)))(
        jax.ShapeDtypeStruct((1, h, w, 8), jnp.float32)
    )
    x = jax.random.normal(jax.random.key(0), (1, 3, 2, 8))
    np.testing.assert_array_equal(exported.call(x), pixel_shuffle(x, 2))


def test_what_does_not_divide_is_refused_with_what_would():
    x = jnp.zeros((1, 4, 5, 10))
    with pytest.raises(UserError, match=r"pixel_shuffle: 10 channels .* 8 channels would"):
        pixel_shuffle(x, 2)
    with pytest.raises(UserError, match=r"pixel_unshuffle: .*\(4, 5\).* \(4, 4\) would"):
        pixel_unshuffle(x, 2)
    with pytest.raises(UserError, match="factor=0; at least 1"):
        pixel_shuffle(x, 0)
