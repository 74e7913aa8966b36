"""The shared test tensor of the goldens: no random numbers, the same in any framework."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tensor() -> tuple[np.ndarray, np.ndarray]:
    """Logits ``[2 8 8 3]`` and labels ``[2 8 8]``."""
    n, h, w, c = np.meshgrid(*map(np.arange, (2, 8, 8, 3)), indexing="ij")
    logits = 2 * np.sin(0.7 * n + 1.3 * c + 0.9 * h + 1.7 * w + 0.1 * h * w)
    n, h, w = n[..., 0], h[..., 0], w[..., 0]
    label = np.where((h - 3) ** 2 + (w - 2 - n) ** 2 <= 5, 1, 0)
    label = np.where((h - 5) ** 2 + (w - 6) ** 2 <= 2, 2, label)
    assert abs(logits.sum() - 1.4708070311) < 1e-9
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
