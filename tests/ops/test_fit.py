"""Padding and cropping are each other's inverse."""

import jax.numpy as jnp

from jaxseg.ops import crop, crop_centre, pad_to_multiple

X = jnp.arange(2 * 5 * 8 * 3.0).reshape(2, 5, 8, 3)


def test_padding_reaches_the_next_multiple_with_zeros_at_the_end():
    padded = pad_to_multiple(X, 4)
    assert padded.shape == (2, 8, 8, 3)
    assert (padded[:, :5] == X).all() and (padded[:, 5:] == 0).all()
    assert (crop(padded, (5, 8)) == X).all()


def test_a_size_that_fits_is_left_alone():
    assert pad_to_multiple(X[:, :4], 4).shape == (2, 4, 8, 3)


def test_the_centre_is_cropped_evenly():
    assert (crop_centre(X, (3, 4)) == X[:, 1:4, 2:6]).all()
