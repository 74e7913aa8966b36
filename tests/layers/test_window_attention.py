"""Attention within windows: who sees whom, by gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.window_attention import (
    WindowAttention,
    from_windows,
    relative_index,
    to_windows,
)


def seen(shifted, size=8, window=4):
    """``[n n]``: whether pixel i of a line depends on pixel j."""
    layer, x = WindowAttention(2, window, shifted), jax.random.normal(jax.random.key(0), (size, 4))

    @jax.jit
    def run(x):
        given, _ = layer.init_with_output(jax.random.key(1), x[None], train=False)
        return given[0].sum(-1)

    return np.asarray(abs(jax.jacobian(run)(x)).sum(-1) > 1e-12)


def test_pixels_see_their_window_and_after_the_shift_parts_of_two():
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(seen(False), groups[:, None] == groups)
    groups = np.array([0, 0, 1, 1, 1, 1, 2, 2])  # the ends share a window, and are kept apart
    np.testing.assert_array_equal(seen(True), groups[:, None] == groups)


def test_a_map_no_longer_than_the_window_is_one_window():
    assert seen(True, size=3).all()


def test_windows_are_put_together_again():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    parts = to_windows(x, (2, 3))
    assert parts.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(parts[0, 1], x[0, :2, 3:].reshape(6, 3))
    np.testing.assert_array_equal(from_windows(parts, (2, 3), (4, 6)), x)


def test_the_table_is_read_by_differences_of_places():
    index = relative_index((2, 3))
    assert index.shape == (6, 6) and index.max() == 3 * 5 - 1
    assert index[0, 0] == index[5, 5] == 7  # no difference: the middle
    assert index[3, 0] == 7 + 5 and index[0, 1] == 7 - 1


def test_shares_of_attention_sum_to_one():
    layer, x = WindowAttention(2, 4, True), jax.random.normal(jax.random.key(0), (2, 8, 8, 4))

    @jax.jit
    def run(x):
        _, found = layer.init_with_output(jax.random.key(1), x, train=False, mutable=True)
        return found["intermediates"]["attention"][0]

    shares = run(x)
    assert shares.shape == (2, 8, 8, 2)
    np.testing.assert_allclose(shares.sum((1, 2)), 1, rtol=1e-5)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="heads=3: must be a divisor of 4 channels"):
        WindowAttention(3).init(jax.random.key(0), jnp.zeros((1, 8, 4)), train=False)
