import functools
import operator

import numpy as np
import pytest

from jaxseg.metrics import Matches, Panoptic, aggregated_jaccard
from jaxseg.types import IGNORE


def segments() -> tuple[np.ndarray, np.ndarray]:
    """systems.md, appendix 3: B, which predicts A."""
    a, b = np.zeros((32, 32), np.int32), np.zeros((32, 32), np.int32)
    a[2:12, 2:12], a[2:12, 14:30], a[15:30, 3:13], a[18:28, 16:28] = 1, 2, 3, 4
    b[2:12, 2:11], b[3:12, 14:21], b[3:12, 21:30], b[15:30, 3:13] = 1, 2, 3, 4
    b[20:28, 18:30], b[29:32, 29:32] = 5, 6
    return b, a


def close(value, golden):
    np.testing.assert_allclose(value, golden, rtol=1e-6)


def test_dsb2018s_score_is_the_golden():
    # metrics.json dsb2018.mean_{t=.5:.05:.95} TP/(TP+FP+FN); by threshold in appendix 3
    matches = Matches.of(*segments())
    close(matches.average_precision(), 0.28174603174603174)
    close(matches.precisions(), [2 / 3, 3 / 7, *[1 / 4] * 6, 1 / 9, 1 / 9])
    close(matches.f1()[0], 2 * 4 / 10)


def test_aji_is_the_golden():
    close(aggregated_jaccard(*segments()), 0.6488673139158576)  # metrics.json aji.formula


def test_panoptic_quality_is_the_golden():
    # metrics.json pq.*, and torchmetrics.PQ things={1} stuffs={0} (mean of 2)
    b, a = segments()
    pq = Panoptic.of(np.int32(b > 0), np.int32(a > 0), b, a, 2, things=(1,))
    assert pq.tp[1] == 4
    close(pq.segmentation_quality()[1], 0.7486213235294118)
    close(pq.recognition_quality()[1], 0.8)
    close(pq.quality()[1], 0.5988970588235294)
    close(pq.quality().mean(), 0.7181985244072755)


def test_merged_images_are_the_whole():
    b, a = segments()
    other = np.roll(a, 1, axis=0)
    whole = Matches.of(np.stack([b, other + 10 * (other > 0)]), np.stack([a, a + 10 * (a > 0)]))
    merged = functools.reduce(operator.add, [Matches.of(b, a), Matches.of(other, a)])
    merged = Matches.zero() + merged
    assert (whole.matched == merged.matched).all()
    assert (whole.predicted, whole.labelled) == (merged.predicted, merged.labelled) == (10, 8)
    close(merged.average_precision(), whole.average_precision())
    one = Panoptic.of(b * 0, a * 0, b, a, 1)
    two = Panoptic.zero(1) + one + one
    assert two.tp == 2 * one.tp
    close(two.quality(), one.quality())


def test_an_iou_of_the_threshold_is_no_match():
    label = np.ones((1, 10), np.int32)
    prediction = label.copy()
    prediction[0, 9:] = 0
    assert Matches.of(prediction, label, (0.85, 0.9)).matched.tolist() == [1, 0]


def test_numbers_do_not_matter():
    b, a = segments()
    renamed = np.where(b > 0, 100 - 7 * b, 0)
    assert (Matches.of(renamed, a).matched == Matches.of(b, a).matched).all()
    close(aggregated_jaccard(renamed, a), aggregated_jaccard(b, a))


def test_perfect_and_empty_maps():
    _, a = segments()
    empty = np.zeros_like(a)
    assert Matches.of(a, a).average_precision() == aggregated_jaccard(a, a) == 1
    for pair in ((empty, a), (a, empty)):
        assert Matches.of(*pair).average_precision() == aggregated_jaccard(*pair) == 0
    assert np.isnan(Matches.of(empty, empty).average_precision())
    assert np.isnan(aggregated_jaccard(empty, empty))
    assert np.isnan(Panoptic.zero(3).quality()).all()


def test_thresholds_below_a_half_are_refused():
    with pytest.raises(ValueError, match="0.5"):
        Matches.zero((0.3, 0.6))
    with pytest.raises(ValueError, match="merge"):
        Matches.zero((0.5,)) + Matches.zero((0.6,))


def test_a_segment_of_another_class_is_no_match():
    ones = np.ones((4, 4), np.int32)
    pq = Panoptic.of(ones, 2 * ones, ones, ones, 3)
    assert (pq.tp.tolist(), pq.fp.tolist(), pq.fn.tolist()) == ([0, 0, 0], [0, 1, 0], [0, 0, 1])
    assert pq.quality()[1:].tolist() == [0, 0]
    assert np.isnan(pq.quality()[0])


def test_void_counts_in_no_union():
    label = np.int32([[1, 1, 1, IGNORE, IGNORE, IGNORE]])
    prediction = np.int32([[1, 1, 1, 1, 1, 1]])
    ones = np.ones_like(label)
    pq = Panoptic.of(prediction, label, ones, ones, 2)
    assert (pq.tp[1], pq.fp[1], pq.fn[1], pq.iou[1]) == (1, 0, 0, 1.0)


def test_a_segment_that_lies_mostly_in_void_is_no_false_positive():
    label = np.int32([[0, 0, 0, 0, IGNORE, IGNORE]])
    mostly, half = np.int32([[0, 0, 0, 1, 1, 1]]), np.int32([[0, 0, 1, 1, 1, 1]])
    zeros = np.zeros_like(label)
    assert Panoptic.of(mostly, label, zeros, zeros, 2).fp.tolist() == [0, 0]
    # Two of its four pixels are in void: not more than half. The background's IoU is 2 / 4.
    assert Panoptic.of(half, label, zeros, zeros, 2).fp.tolist() == [1, 1]


def test_stuff_is_one_segment_an_image():
    label = np.int32([[0, 0, 0, 1, 1, 1]])
    numbers = np.int32([[1, 2, 3, 4, 5, 6]])
    apart = Panoptic.of(label, label, numbers, numbers, 2)
    stuff = Panoptic.of(label, label, numbers, numbers, 2, things=(1,))
    assert (apart.tp.tolist(), stuff.tp.tolist()) == ([3, 3], [1, 3])
