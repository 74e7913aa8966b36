import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy
from jaxseg.types import IGNORE


def as_one(x: np.ndarray) -> np.ndarray:
    """Both images as one example, whose mean is torch's over the batch."""
    return x.reshape(1, 16, *x.shape[2:])


@pytest.mark.parametrize(
    "golden, loss",
    [
        (1.681280424239744, CrossEntropy()),  # ce.mean
        # ce.weighted_mean(w=.2,.3,.5; /sum w)
        (1.6841079943672896, CrossEntropy(class_weights=(0.2, 0.3, 0.5))),
        (1.6846055567629672, CrossEntropy(label_smoothing=0.1)),  # ce.label_smoothing0.1
    ],
)
def test_it_equals_torch(tensor, golden: float, loss: CrossEntropy):
    logits, label = tensor
    assert abs(float(loss(as_one(logits), as_one(label))[0]) - golden) < 1e-6


@pytest.mark.parametrize(
    "golden, factors",
    [
        (0.9169158150693665, (1.0, 1.0)),  # bce_logits.mean
        (1.5020868272905221, (1.0, 3.0)),  # bce_logits.pos_weight=3
        # bce.HED class-balanced mean, beta=0.679688 (87 of 128 pixels are background)
        (0.3988475132728953, (41 / 128, 87 / 128)),
    ],
)
def test_of_two_classes_it_is_torchs_of_a_sigmoid(binary, as_one, golden: float, factors):
    logits, label = as_one(binary)
    mean_factor = np.float64(factors)[label].mean()  # those losses are not divided by it
    value = float(jax.jit(CrossEntropy(class_weights=factors))(logits, label)[0]) * mean_factor
    assert value == pytest.approx(golden, rel=1e-6)


def test_times_the_pixels_it_is_torchs_sum(tensor):
    total = 64 * jax.jit(CrossEntropy())(*tensor).sum()
    assert float(total) == pytest.approx(215.20389430268725, rel=1e-6)  # ce.sum


def test_with_rare_classes_weighted_it_is_that_of_ummkd(tensor, as_one):
    logits, label = as_one(tensor)
    factors = 1 - np.bincount(label.ravel()) / label.size
    loss = CrossEntropy(class_weights=tuple(factors.tolist()))
    value = float(jax.jit(loss)(logits, label)[0]) * factors[label].mean()
    # ummkd.weighted CE mean over pixels (w_c=1-freq, clip .005); no probability is clipped here
    assert value == pytest.approx(0.9885921840892511, rel=1e-6)


def test_its_gradient_is_torchs(tensor):
    logits, label = tensor
    grad = jax.jit(jax.grad(lambda z: CrossEntropy()(z, label).mean()))(logits)
    assert float(jnp.linalg.norm(grad)) == pytest.approx(
        0.08523368689859688, rel=1e-6
    )  # gradnorm.ce


def test_it_ignores_as_torch_does(tensor):
    logits, label = tensor
    label = np.where(label == 2, IGNORE, label)
    golden = 1.6809360343132733  # ce.ignore_index=2
    assert abs(float(jax.jit(CrossEntropy())(as_one(logits), as_one(label))[0]) - golden) < 1e-6


def test_the_mean_over_equally_large_examples_is_that_of_the_batch(tensor):
    value = jax.jit(CrossEntropy())(*tensor)
    assert abs(float(value.mean()) - 1.681280424239744) < 1e-6  # ce.mean


def test_without_an_opinion_it_is_the_logarithm_of_the_classes():
    logits, label = np.zeros((1, 2, 2, 4), np.float32), np.zeros((1, 2, 2), np.int32)
    assert np.allclose(jax.jit(CrossEntropy())(logits, label), math.log(4), rtol=1e-6)
    assert np.allclose(
        jax.jit(CrossEntropy(label_smoothing=0.3))(logits, label), math.log(4), rtol=1e-6
    )


def test_class_weights_are_divided_by_those_of_the_pixels():
    # p = (3/4, 1/4) everywhere; two pixels of class 0, one of class 1, weights 1 and 4.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 3, 2)).copy()
    label = np.int32([[0, 0, 1]])
    expected = (2 * math.log(4 / 3) + 4 * math.log(4)) / (2 * 1 + 4)
    assert np.allclose(CrossEntropy(class_weights=(1.0, 4.0))(logits, label), expected, rtol=1e-6)


def test_smoothing_and_class_weights_go_together_as_in_torch():
    # One pixel of class 0, p = (3/4, 1/4), w = (1, 4), e = 1/2:
    # [e' w0 ln(4/3) + e/2 (w0 ln(4/3) + w1 ln 4)] / w0 with e' = 1 - e.
    logits, label = np.log(np.float32([[[3, 1]]])), np.int32([[0]])
    expected = 0.5 * math.log(4 / 3) + 0.25 * (math.log(4 / 3) + 4 * math.log(4))
    loss = CrossEntropy(class_weights=(1.0, 4.0), label_smoothing=0.5)
    assert np.allclose(jax.jit(loss)(logits, label), expected, rtol=1e-6)


def test_class_weights_of_another_number_of_classes_are_refused(tensor):
    with pytest.raises(UserError, match="class_weights has 2 numbers, but the model 3 classes"):
        CrossEntropy(class_weights=(1.0, 2.0))(*tensor)
