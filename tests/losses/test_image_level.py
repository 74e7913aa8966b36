import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.losses import ImageLevel
from jaxseg.types import IGNORE


def test_without_an_opinion_it_is_the_logarithm_of_two():
    value = jax.jit(ImageLevel())(np.zeros((1, 3), np.float32), np.zeros((1, 4, 4), np.int32))
    assert np.allclose(value, math.log(2), rtol=1e-6)


def test_presence_by_hand():
    # Classes 0 and 2 occur; sigmoid(ln 3) = 3/4.
    label = np.array([[[0, 2], [2, IGNORE]]], np.int32)
    logits = np.full((1, 3), math.log(3), np.float32)
    expected = (math.log(4 / 3) + math.log(4) + math.log(4 / 3)) / 3
    assert np.allclose(jax.jit(ImageLevel())(logits, label), expected, rtol=1e-6)


def test_neither_ignored_nor_weightless_pixels_make_a_class_present():
    logits = np.full((1, 2), 30.0, np.float32)
    label, weights = np.array([[[0, 1]]], np.int32), np.array([[[1.0, 0.0]]], np.float32)
    assert np.allclose(jax.jit(ImageLevel())(logits, label), 0, atol=1e-6)
    assert np.allclose(jax.jit(ImageLevel())(logits, label, weights=weights), 15)
    assert np.allclose(jax.jit(ImageLevel())(logits, np.array([[[0, IGNORE]]], np.int32)), 15)


def test_ignored_and_invalid_images_are_zero_without_gradient():
    label = np.stack([np.full((4, 4), IGNORE), np.zeros((4, 4)), np.ones((4, 4))]).astype(np.int32)
    valid = np.array([True, False, True])
    logits = jnp.asarray([[3.0, -2.0]] * 3)
    total = jax.jit(lambda z: ImageLevel()(z, label, valid=valid))
    value, grad = total(logits), jax.jit(jax.grad(lambda z: total(z).sum()))(logits)
    assert np.all(value[:2] == 0) and np.all(grad[:2] == 0)
    assert value[2] > 0 and np.any(grad[2] != 0)


def test_it_is_finite_at_logits_of_fifty_and_jits_in_3d():
    label = np.ones((2, 3, 4, 5), np.int32)
    for logits in (jnp.full((2, 2), 50.0), jnp.full((2, 2), -50.0)):
        total = jax.jit(lambda z: ImageLevel()(z, label).sum())
        assert np.isfinite(total(logits)) and np.all(np.isfinite(jax.grad(total)(logits)))
