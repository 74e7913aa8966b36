"""Losses in float32 against the same formula in float64, at sizes and logits of real images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.losses import LOSSES, Loss, order


def scenes(size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Labels with all of three classes, and with one or two absent; logits of 0, 5 and 60."""
    rng = np.random.default_rng(0)
    grid = np.indices(size)
    ball = ((grid - size[0] // 2) ** 2).sum(0) <= (size[0] // 4) ** 2
    small = ((grid - size[0] // 8) ** 2).sum(0) <= 4
    labels = [
        np.where(ball, 1, np.where(small, 2, 0)),
        np.where(ball, 1, 0),
        0 * ball,
        0 * ball + 1,
    ]
    found, true = [], []
    for label in labels:
        for predicted in (label, np.roll(label, 2, 0), rng.permutation(label.ravel() * 2 % 3)):
            one_hot = np.eye(3)[predicted.reshape(size)]
            noise = rng.normal(0, 0.1, one_hot.shape)
            found += [scale * (one_hot + noise) for scale in (0, 5, 60)]
            true += [label] * 3
    return np.stack(found).astype(np.float32), np.stack(true).astype(np.int32)


def value_and_gradient(loss: Loss, logits, label):
    def total(z):
        value = loss(z, label)
        return value.sum(), value

    grad, value = jax.jit(jax.grad(total, has_aux=True))(logits)
    return np.asarray(value), np.asarray(grad)


@pytest.mark.parametrize("size", [(96, 96), (16, 16, 16)], ids=["image", "volume"])
@pytest.mark.parametrize("loss", [loss() for loss in LOSSES.values()], ids=LOSSES)
def test_it_is_finite_and_equals_its_formula_in_float64(loss, size, monkeypatch):
    logits, label = scenes(size)
    value, grad = value_and_gradient(loss, logits, label)
    assert np.isfinite(value).all() and np.isfinite(grad).all()
    with jax.enable_x64(True), monkeypatch.context() as patch:
        patch.setattr(jnp, "float32", jnp.float64)  # which losses ask for by name
        patch.setattr(order, "LONGEST", 0)  # its packed words are those of float32
        exact, _ = value_and_gradient(loss, logits.astype(np.float64), label)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(value, exact, rtol=1e-4, atol=1e-6)
