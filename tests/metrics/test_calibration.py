import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.metrics import Calibration
from jaxseg.types import IGNORE


def some(b: int = 6, size=(5, 4), k: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(k), (b, *size)).astype(np.float32)
    return probabilities, rng.integers(IGNORE, k, (b, *size)).astype(np.int32)


def binary(*confident: float) -> np.ndarray:
    """Two classes, the second with these probabilities, in one row."""
    second = np.float32(confident)[None]
    return np.stack([1 - second, second], -1)


def test_the_error_is_the_fraction_written_here():
    probabilities = binary(0.95, 0.95, 0.95, 0.95, 0.65, 0.65)
    label = np.int32([[1, 1, 0, 0, 1, 1]])
    c = Calibration.of(probabilities, label, bins=10)
    assert c.pixels.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 4]
    np.testing.assert_allclose(c.expected_error(), (4 * 0.45 + 2 * 0.35) / 6, rtol=1e-6)
    np.testing.assert_allclose(c.largest_error(), 0.45, rtol=1e-6)


def test_certain_and_right_has_no_error_and_certain_and_wrong_has_all():
    certain = binary(1.0, 1.0, 0.0)
    assert Calibration.of(certain, np.int32([[1, 1, 0]])).expected_error() == 0
    assert Calibration.of(certain, np.int32([[0, 0, 1]])).expected_error() == 1


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_it_is_the_definition_over_intervals_open_below(bins):
    probabilities, label = some()
    label = np.abs(label)
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == label
    error = 0.0
    for low in np.linspace(0, 1, bins + 1)[:-1]:
        inside = (confidence > low) & (confidence <= low + 1 / bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    found = Calibration.of(probabilities, label, bins=bins).expected_error()
    np.testing.assert_allclose(found, error, rtol=1e-5)


def test_merged_batches_are_the_whole_and_rows_that_are_not_valid_do_not_count():
    probabilities, label = some()
    whole = Calibration.of(probabilities, label).on_host()
    merged = Calibration.zero().on_host()
    for rows in ([0, 1, 2, 3], [4, 5, 0, 0]):
        valid = np.array([True, True, rows[2] == 2, rows[3] == 3])
        merged = merged + Calibration.of(probabilities[rows], label[rows], valid=valid)
    assert merged.pixels.dtype == np.int64 and merged.confidence.dtype == np.float64
    for name in ("pixels", "right", "confidence"):
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-6)


def test_ignored_pixels_do_not_count():
    probabilities, label = some()
    assert Calibration.of(probabilities, label).pixels.sum() == (label != IGNORE).sum()
    nothing = Calibration.of(probabilities, np.full_like(label, IGNORE))
    assert np.isnan(nothing.expected_error()) and np.isnan(nothing.largest_error())
    assert np.isnan(nothing.on_host().expected_error())


def test_it_jits():
    probabilities, label = some()
    jitted = jax.jit(lambda p, t: Calibration.of(p, t) + Calibration.zero())
    found, expected = jitted(probabilities, label), Calibration.of(probabilities, label)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert isinstance(found.expected_error(), jnp.ndarray)
