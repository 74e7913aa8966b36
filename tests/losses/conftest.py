"""The shared test tensor of the goldens: no random numbers, the same in any framework."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope="package", autouse=True)
def keep_small_programs():
    """Thousands of programs that compile faster than what the cache keeps by default."""
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)


@pytest.fixture(scope="session")
def tensor() -> tuple[np.ndarray, np.ndarray]:
    """Logits ``[2 8 8 3]`` and labels ``[2 8 8]``."""
    n, h, w, c = np.meshgrid(*map(np.arange, (2, 8, 8, 3)), indexing="ij")
    logits = 2 * np.sin(0.7 * n + 1.3 * c + 0.9 * h + 1.7 * w + 0.1 * h * w)
    n, h, w = n[..., 0], h[..., 0], w[..., 0]
    label = np.where((h - 3) ** 2 + (w - 2 - n) ** 2 <= 5, 1, 0)
    label = np.where((h - 5) ** 2 + (w - 6) ** 2 <= 2, 2, label)
    assert abs(logits.sum() - 1.470807031131237) < 1e-9  # losses.json in.logits.sum
    assert abs(logits[1, 3, 4, 2] - 1.9812147113897407) < 1e-12  # in.logits[1,2,3,4]: n c h w
    powers = np.exp(logits[0, 3, 2])
    assert abs(powers[1] / powers.sum() - 0.6720471637811843) < 1e-12  # in.probs[0,1,3,2]
    assert np.bincount(label[0].ravel()).tolist() == [34, 21, 9]
    assert np.bincount(label[1].ravel()).tolist() == [35, 20, 9]
    return logits.astype(np.float32), label.astype(np.int32)


@pytest.fixture(scope="session")
def binary(tensor) -> tuple[np.ndarray, np.ndarray]:
    """Class 1 of it alone: two logits whose softmax is the sigmoid of class 1's, and labels."""
    logits, label = tensor
    two = np.stack([-logits[..., 1] / 2, logits[..., 1] / 2], -1)
    return two, (label == 1).astype(np.int32)


@pytest.fixture(scope="session")
def as_one():
    """Both images as one example, for losses that look at no neighbours."""
    return lambda pair: tuple(x.reshape(1, 16, *x.shape[2:]) for x in pair)
