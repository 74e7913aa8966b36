import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxseg.errors import UserError
from jaxseg.losses import ClDice
from jaxseg.losses.cl_dice import skeleton


def lines() -> np.ndarray:
    """Two bars, three pixels wide."""
    label = np.zeros((1, 15, 15), np.int32)
    label[0, 2:5, 1:14] = label[0, 1:14, 9:12] = 1
    return label


def sure(label: np.ndarray) -> np.ndarray:
    return 50 * (2 * np.eye(2, dtype=np.float32)[label] - 1)


@pytest.mark.parametrize("rank", [2, 3])
def test_the_skeleton_is_that_of_algorithm_1_in_scipy(rank: int):
    rng = np.random.default_rng(0)
    x = rng.random((9, 8, 7)[:rank]).astype(np.float32)
    cross = ndimage.generate_binary_structure(rank, 1)

    def eroded(x):
        return ndimage.grey_erosion(x, footprint=cross, mode="constant", cval=1.0)

    def opened(x):
        return ndimage.grey_dilation(eroded(x), size=3, mode="constant", cval=0.0)

    expected, rest = np.maximum(x - opened(x), 0), x
    for _ in range(2):
        rest = eroded(rest)
        ridge = np.maximum(rest - opened(rest), 0)
        expected = expected + np.maximum(ridge - expected * ridge, 0)
    given = jnp.asarray(x)[None, ..., None]
    got = skeleton(given, jnp.ones(given.shape, bool), iterations=2)[0, ..., 0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_a_shift_inside_the_line_costs_nothing_and_a_gap_does():
    label = lines()
    thin = np.zeros_like(label)
    thin[0, 3, 2:13] = thin[0, 2:13, 10] = 1
    assert np.allclose(jax.jit(ClDice())(sure(thin), label), 0, atol=1e-6)
    broken = label.copy()
    broken[0, :, 5:7] = 0
    assert jax.jit(ClDice())(sure(broken), label)[0] > 0.02


def test_it_is_the_harmonic_mean_of_precision_and_sensitivity():
    # A line of 8 pixels, of which 4 are found; the lines are their own skeletons.
    label, guess = np.zeros((2, 1, 5, 10), np.int32)
    label[0, 2, 1:9], guess[0, 2, 1:5] = 1, 1
    precision, sensitivity = (4 + 1) / (4 + 1), (4 + 1) / (8 + 1)
    expected = 1 - 2 * precision * sensitivity / (precision + sensitivity)
    assert np.allclose(jax.jit(ClDice())(sure(guess), label), expected, atol=1e-6)


def test_weights_count_in_the_sums():
    label, guess = np.zeros((2, 1, 5, 10), np.int32)
    label[0, 2, 1:9], guess[0, 2, 1:5] = 1, 1
    weights = np.ones(label.shape, np.float32)
    weights[..., 5:] = 3
    sensitivity = (4 + 1) / (4 + 12 + 1)
    expected = 1 - 2 * sensitivity / (1 + sensitivity)
    assert np.allclose(jax.jit(ClDice())(sure(guess), label, weights=weights), expected, atol=1e-6)


def test_quotients_of_nothing_are_refused():
    with pytest.raises(UserError, match="ClDice.smooth=0.0: must be above 0"):
        ClDice(smooth=0.0)


@pytest.mark.parametrize("factor", [0.37, 0.61])
def test_compiled_for_speed_its_gradient_is_that_of_one_operation_after_another(factor: float):
    # Where a map is a product, XLA may subtract from it before it is rounded.
    fast = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    rng = np.random.default_rng(0)
    x, above = (jnp.asarray(rng.random((1, 16, 16, 1), np.float32)) for _ in range(2))
    counts = jnp.ones(x.shape, bool)

    def gradient(x):
        back = jax.vjp(lambda x: skeleton(factor * x, counts, iterations=1), x)[1]
        return back(above)[0]

    with jax.disable_jit():
        expected = gradient(x)
    ours = jax.jit(gradient, compiler_options=fast)(x)
    np.testing.assert_allclose(ours, expected, atol=1e-6)
