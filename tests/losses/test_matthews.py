import math

import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import Matthews


def test_it_equals_smp(binary):
    golden = 0.9978028038285168  # mcc.smp binary
    assert float(jax.jit(Matthews(batch=True))(*binary)[0]) == pytest.approx(golden, rel=1e-6)


def test_two_pixels_by_hand():
    # p = (3/4, 1/4), labels 0, 1; class 1: TP 1/4, FP 1/4, FN 3/4, TN 3/4.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 2, 2)).copy()
    tp, fp, fn, tn = 1 / 4, 1 / 4, 3 / 4, 3 / 4
    expected = 1 - (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    value = jax.jit(Matthews(smooth=1e-9))(logits, np.int32([[0, 1]]))
    assert np.allclose(value, expected, rtol=1e-6)


def test_the_opposite_of_the_label_costs_two():
    label = np.random.default_rng(0).integers(0, 2, (1, 8, 8)).astype(np.int32)
    logits = 50 * (2 * np.eye(2, dtype=np.float32)[1 - label] - 1)
    assert np.allclose(jax.jit(Matthews())(logits, label), 2, atol=1e-4)


def test_a_class_in_neither_label_nor_prediction_costs_nothing():
    label, logits = np.zeros((1, 4, 4), np.int32), np.zeros((1, 4, 4, 2), np.float32)
    logits[..., 0] = 200  # softmax is exactly 0 elsewhere
    assert np.allclose(jax.jit(Matthews())(logits, label), 0, atol=1e-6)


def test_a_denominator_that_could_vanish_is_refused():
    with pytest.raises(UserError, match="Matthews.smooth=0.0: must be above 0"):
        Matthews(smooth=0.0)


@pytest.mark.parametrize("margin", [0.0, 3.0, 12.0, 20.0])
def test_an_image_of_one_foreground_class_equals_its_formula_in_float64(margin: float):
    # No true negatives and no false positives: all that is left beside TP is FN and ``smooth``.
    n, smooth = 64 * 64, 1e-5
    logits = np.zeros((1, 64, 64, 2), np.float32)
    logits[..., 1] = margin
    fn = n / (1 + math.exp(margin))
    tp, tn = n - fn + smooth, smooth
    expected = 1 - tp * tn / math.sqrt(tp * (tp + fn) * tn * (tn + fn))
    value = jax.jit(Matthews())(logits, np.ones((1, 64, 64), np.int32))
    assert float(value[0]) == pytest.approx(expected, rel=1e-4)
