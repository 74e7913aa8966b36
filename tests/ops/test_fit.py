"""Padding and cropping are each other's inverse."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxseg.ops import crop, crop_centre, pad_to_least, pad_to_multiple

X = jnp.asarray(np.arange(2 * 5 * 8 * 3.0, dtype="f4").reshape(2, 5, 8, 3))


def test_padding_reaches_the_next_multiple_with_zeros_at_the_end():
    padded = pad_to_multiple(X, 4)
    assert padded.shape == (2, 8, 8, 3)
    assert (padded[:, :5] == X).all() and (padded[:, 5:] == 0).all()
    assert (crop(padded, (5, 8)) == X).all()


def test_a_size_that_fits_is_left_alone():
    assert pad_to_multiple(X[:, :4], 4).shape == (2, 4, 8, 3)


def test_padding_reaches_the_least_size_with_zeros_at_the_end():
    padded = pad_to_least(X, 7)
    assert padded.shape == (2, 7, 8, 3)
    assert (padded[:, :5] == X).all() and (padded[:, 5:] == 0).all()


def test_the_least_size_is_found_of_symbols_too():
    given = jax.ShapeDtypeStruct(export.symbolic_shape("1, n, 3"), jnp.float32)
    exported = export.export(jax.jit(lambda x: pad_to_least(x, 4)))(given)
    assert [exported.call(jnp.ones((1, n, 3))).shape[1] for n in (2, 4, 6)] == [4, 4, 6]


def test_the_centre_is_cropped_evenly():
    assert (crop_centre(X, (3, 4)) == X[:, 1:4, 2:6]).all()


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_images_and_labels_are_cropped_alike_and_stay_where_they_are(kind, channels):
    x = kind(np.arange(2 * 7 * 8 * math.prod(channels)).reshape(2, 7, 8, *channels))
    y = crop_centre(x, (4, 4))
    assert (y == x[:, 1:5, 2:6]).all() and y.shape == (2, 4, 4, *channels)
    assert isinstance(y, type(x)) and y.dtype == x.dtype


def test_a_centre_can_be_cropped_to_a_size_that_is_a_symbol():
    (n,) = export.symbolic_shape("n", constraints=["n >= 4"])
    given = jax.ShapeDtypeStruct((1, 2 * n, 2), jnp.float32)
    exported = export.export(jax.jit(lambda x: crop_centre(x, (n,))))(given)
    x = jnp.arange(24.0).reshape(1, 12, 2)
    np.testing.assert_array_equal(exported.call(x), x[:, 3:9])
