import math

import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy, TopK
from jaxseg.types import IGNORE

# Cross entropies ln 2, ln 4, ln 4/3 and ln 8/7: p of class 0 is 1/2, 1/4, 3/4, 7/8.
LOGITS = np.log(np.float32([[[1, 1], [1, 3], [3, 1], [7, 1]]]))
LABEL = np.zeros((1, 4), np.int32)


@pytest.mark.parametrize(
    "golden, fraction",
    [
        (3.9007694994048028, 0.1),  # ce.topk10 (k=12)
        (3.358216255632991, 0.25),  # ce.topk25/OHEM (k=32)
    ],
)
def test_it_equals_torch(tensor, as_one, golden: float, fraction: float):
    value = jax.jit(TopK(fraction=fraction))(*as_one(tensor))[0]
    assert float(value) == pytest.approx(golden, rel=1e-6)


def test_all_of_the_pixels_are_the_cross_entropy(tensor):
    np.testing.assert_allclose(
        jax.jit(TopK(fraction=1.0))(*tensor), jax.jit(CrossEntropy())(*tensor), rtol=1e-6
    )


def test_the_hardest_by_hand():
    assert np.allclose(jax.jit(TopK(fraction=0.5))(LOGITS, LABEL), (math.log(2) + math.log(4)) / 2)
    assert np.allclose(jax.jit(TopK(fraction=0.01))(LOGITS, LABEL), math.log(4))  # at least one


def test_the_share_is_one_of_the_counted_pixels():
    label = np.int32([[0, IGNORE, 0, IGNORE]])
    assert np.allclose(jax.jit(TopK(fraction=0.5))(LOGITS, label), math.log(2))


def test_a_threshold_keeps_every_hard_pixel():
    loss = TopK(fraction=0.01, threshold=0.8)
    expected = (math.log(2) + math.log(4) + math.log(4 / 3)) / 3
    assert np.allclose(jax.jit(loss)(LOGITS, LABEL), expected)
    assert np.allclose(jax.jit(TopK(fraction=0.5, threshold=0.1))(LOGITS, LABEL), 1.5 * math.log(2))


def test_the_last_pixel_counts_in_part():
    # Weights 1, 2, 4, 1: half of 8 is all of the hardest (2), of the next (1), a quarter of 4.
    weights = np.float32([[1, 2, 4, 1]])
    expected = (2 * math.log(4) + math.log(2) + math.log(4 / 3)) / 4
    assert np.allclose(
        jax.jit(TopK(fraction=0.5))(LOGITS, LABEL, weights=weights), expected, rtol=1e-6
    )


def test_class_weights_are_factors_of_what_is_kept():
    loss = TopK(fraction=0.25, class_weights=(0.5, 9.0))
    assert np.allclose(jax.jit(loss)(LOGITS, LABEL), 0.5 * math.log(4))


def test_shares_that_keep_nothing_are_refused():
    with pytest.raises(UserError, match=r"TopK.fraction=0.0: must be in \(0, 1\]"):
        TopK(fraction=0.0)
    with pytest.raises(UserError, match="TopK.threshold=1.0"):
        TopK(threshold=1.0)
