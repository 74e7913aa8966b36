"""Dense CRF: equal to all pairs of pixels, to the lattice of another hand, and what it does."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.crf import DenseCRF
from jaxseg.errors import UserError

STORE = np.load(Path(__file__).parent / "golden" / "crf.npz")
IMAGE, LOGITS = STORE["image"], STORE["logits"]
FIELDS = {"iterations": 5, "place": 2.0, "far": 10.0, "colour": 20.0}


def marginals(logits, image, *valid, **fields):
    crf = DenseCRF(**{**FIELDS, **fields})
    return np.asarray(jax.nn.softmax(jax.jit(crf)(logits, image, *valid)))


def brute_force(logits, image, normalise):
    """Five iterations by the matrices of all pairs, in double precision."""
    h, w, k = logits.shape
    y, x = np.mgrid[:h, :w]
    places = np.stack([x, y], -1).reshape(-1, 2)
    kernels = []
    for f in (places / 2.0, np.concatenate([places / 10.0, image.reshape(-1, 3) / 20.0], -1)):
        kernels.append(np.exp(-0.5 * ((f[:, None] - f[None]) ** 2).sum(-1)))
    unary = logits.reshape(-1, k).astype(float)
    now = unary
    for _ in range(5):
        q = np.exp(now) / np.exp(now).sum(-1, keepdims=True)
        now = unary
        for weight, kernel in zip((3.0, 4.0), kernels, strict=True):
            total = kernel.sum(1)
            root = np.sqrt(np.outer(total, total))
            kernel = kernel / (root if normalise == "symmetric" else total[:, None])
            now = now + weight * kernel @ q
    return (np.exp(now) / np.exp(now).sum(-1, keepdims=True)).reshape(h, w, k)


@pytest.mark.parametrize("normalise", ["symmetric", "after"])
def test_the_exact_kernel_is_that_of_all_pairs(normalise, monkeypatch):
    monkeypatch.setattr("jaxseg.crf.BLOCK", 100 * 256)  # 256 pixels are no multiple of the block
    image, logits = IMAGE[:16, 4:20], LOGITS[:16, 4:20]
    ours = marginals(logits[None], image[None], normalise=normalise, kernel="exact")[0]
    np.testing.assert_allclose(ours, brute_force(logits, image, normalise), atol=1e-5)


@pytest.mark.parametrize("normalise", ["symmetric", "after"])
def test_the_lattice_gives_the_numbers_of_a_dictionary_of_points(normalise):
    ours = marginals(LOGITS[None], IMAGE[None], normalise=normalise)[0]
    np.testing.assert_allclose(ours, STORE[f"{normalise}/q"], atol=1e-5)


def test_more_points_than_pixels_change_nothing_but_the_time():
    ours = marginals(LOGITS[None], IMAGE[None], colour=0.5)[0]  # every pixel has points of its own
    alone = marginals(LOGITS[None], IMAGE[None], colour=0.5, kernel="exact")[0]
    assert (ours.argmax(-1) == alone.argmax(-1)).mean() > 0.97


def test_pixels_that_are_not_valid_say_nothing():
    image = np.pad(IMAGE, [(0, 4), (0, 6), (0, 0)])[None]
    logits = np.pad(LOGITS, [(0, 4), (0, 6), (0, 0)], constant_values=9.0)[None]
    valid = np.zeros(image.shape[:3], bool)
    valid[:, :20, :26] = True
    ours = marginals(logits, image, valid, kernel="exact")[0, :20, :26]
    np.testing.assert_allclose(
        ours, marginals(LOGITS[None], IMAGE[None], kernel="exact")[0], atol=1e-5
    )


def test_an_image_is_the_same_beside_another():
    both = marginals(np.stack([LOGITS, -LOGITS]), np.stack([IMAGE, 255 - IMAGE]), kernel="exact")
    alone = marginals(LOGITS[None], IMAGE[None], kernel="exact")
    np.testing.assert_allclose(both[0], alone[0], atol=1e-6)


def test_labels_follow_the_edges_of_the_image():
    truth = np.repeat(np.arange(26) > 11, 20).reshape(26, 20).T.astype(int)
    logits = 1.0 * LOGITS[..., :2]
    logits = logits + 0.8 * np.eye(2, dtype="f4")[truth]
    before = (logits.argmax(-1) == truth).mean()
    after = (marginals(logits[None], IMAGE[None])[0].argmax(-1) == truth).mean()
    assert before < 0.8 and after > 0.98


def test_no_iteration_leaves_the_logits():
    run = jax.jit(DenseCRF(iterations=0))
    np.testing.assert_array_equal(run(LOGITS[None], IMAGE[None]), LOGITS[None])


@pytest.mark.parametrize(
    "fields", [{"iterations": -1}, {"place": 0.0}, {"colour": -1.0}, {"weight": -1.0}]
)
def test_impossible_values_are_refused(fields):
    with pytest.raises(UserError, match=f"crf.{next(iter(fields))}="):
        DenseCRF(**fields)


@pytest.mark.parametrize("fields", [{"colour": 0.05}, {"far": 1e-3}])
def test_deviations_whose_lattice_would_not_fit_are_refused(fields):
    logits, image = jnp.zeros((1, 8, 8, 2)), jnp.zeros((1, 8, 8, 3))
    with pytest.raises(UserError, match="too small for the lattice"):
        DenseCRF(**fields)(logits, image)
    assert DenseCRF(**fields, kernel="exact", iterations=1)(logits, image).shape == logits.shape
