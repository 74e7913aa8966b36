import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from jaxseg.errors import UserError
from jaxseg.losses.distance import apart, distance_to


def some(size: tuple[int, ...], share: float = 0.1) -> np.ndarray:
    seeds = np.random.default_rng(0).random((2, *size, 3)) < share
    seeds[(slice(None), *(0,) * len(size))] = True
    return seeds


@pytest.mark.parametrize(
    "size, spacing",
    [
        ((23,), None),
        ((17, 9), None),
        ((17, 9), (0.5, 3.0)),
        ((6, 9, 7), None),
        ((6, 9, 7), (2.5, 0.7, 1.1)),
        ((3, 4, 3, 5), (1.0, 2.0, 3.0, 0.5)),
    ],
)
def test_it_equals_scipy(size, spacing, platform):
    seeds = some(size)
    got = jax.jit(lambda x: distance_to(x, spacing))(seeds)
    for row in range(2):
        for k in range(3):
            expected = distance_transform_edt(~seeds[row, ..., k], sampling=spacing)
            np.testing.assert_allclose(got[row, ..., k], expected, rtol=1e-6)


def test_without_a_seed_it_is_zero():
    assert np.all(np.asarray(distance_to(jnp.zeros((1, 4, 4, 2), bool))) == 0)


def test_whole_numbers_are_exact_far_away():
    seeds = np.zeros((1, 3, 2000, 1), bool)
    seeds[0, 0, 0] = True
    assert float(distance_to(jnp.asarray(seeds))[0, 2, 1999, 0] ** 2) == pytest.approx(
        1999**2 + 4, rel=1e-7
    )


def test_two_sets_are_apart_only_where_both_are():
    inside, outside = jnp.asarray(some((5, 5))), jnp.asarray(some((5, 5), 0.5))
    inside = inside.at[0, ..., 1].set(False)
    outside = outside.at[1, ..., 2].set(False)
    to_inside, to_outside = jax.jit(apart)(inside, outside)
    for row, k in ((0, 1), (1, 2)):
        assert np.all(to_inside[row, ..., k] == 0) and np.all(to_outside[row, ..., k] == 0)
    np.testing.assert_array_equal(to_inside[0, ..., 0], jax.jit(distance_to)(inside)[0, ..., 0])
    np.testing.assert_array_equal(to_outside[0, ..., 0], jax.jit(distance_to)(outside)[0, ..., 0])


def test_it_has_no_gradient():
    grad = jax.grad(lambda x: distance_to(x[None, :, None] > 0.5).sum())(jnp.arange(4.0))
    assert np.all(grad == 0)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, 1.0, 1.0)])
def test_a_spacing_of_another_rank_is_refused(spacing):
    with pytest.raises(UserError, match="spacing=.*: must be 2 positive numbers"):
        distance_to(jnp.ones((1, 2, 2, 1), bool), spacing)
