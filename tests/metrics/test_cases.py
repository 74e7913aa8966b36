import numpy as np
import pytest

from jaxseg.metrics import CASE_SCORES, Confusion, boundary_iou, case_scores, hausdorff
from jaxseg.types import IGNORE


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two balls of class 1, one of class 2, of which the prediction has moved all."""
    grid = np.indices((30, 40))
    label = np.zeros((30, 40), np.int32)
    for number, (y, x) in ((1, (8, 8)), (1, (20, 12)), (2, (15, 30))):
        label[((grid - np.array([y, x]).reshape(2, 1, 1)) ** 2).sum(0) <= 16] = number
    return np.roll(label, 1, axis=1), label


@pytest.mark.parametrize("rank", [2, 3])
def test_every_score_is_perfect_of_a_perfect_prediction(rank):
    label = pair()[1] if rank == 2 else np.stack([pair()[1]] * 4)
    names = [*CASE_SCORES]
    scores = case_scores(names, label, label, 3)
    for row, name in zip(scores, names, strict=True):
        np.testing.assert_allclose(row, float(CASE_SCORES[name].higher_is_better), err_msg=name)


def test_no_score_is_better_of_a_worse_prediction():
    prediction, label = pair()
    worse = np.roll(label, 3, axis=1)
    names = [*CASE_SCORES]
    near, far = (case_scores(names, x, label, 3) for x in (prediction, worse))
    for a, b, name in zip(near, far, names, strict=True):
        worse_by = a - b if CASE_SCORES[name].higher_is_better else b - a
        # The skeleton of a small ball is a point or two, which may stay inside.
        assert (worse_by >= 0).all() and (name == "cldice" or worse_by.max() > 0), name


def test_scores_are_those_of_each_class():
    prediction, label = pair()
    scores = case_scores(["case_dice", "case_iou", "hd95", "boundary_iou"], prediction, label, 3)
    counted = Confusion.of(prediction[None], label[None], 3).on_host()
    np.testing.assert_allclose(scores[0], counted.dice())
    np.testing.assert_allclose(scores[1], counted.iou())
    masks = prediction == 2, label == 2
    assert scores[2, 2] == hausdorff(*masks, percentile=95.0)
    assert scores[3, 2] == boundary_iou(*masks)


def test_spacing_scales_distances():
    one, two = (case_scores(["hd", "assd"], *pair(), 3, spacing=s) for s in (None, (2.0, 2.0)))
    np.testing.assert_allclose(two, 2 * one)


def test_absent_classes_and_those_left_out_have_no_score():
    scores = case_scores(["case_dice", "hd95"], *pair(), 4, leave_out=(0,))
    assert np.isnan(scores[:, [0, 3]]).all()
    assert not np.isnan(scores[:, [1, 2]]).any()


def test_where_the_label_is_ignored_nothing_counts():
    prediction, label = pair()
    label[:, :20] = IGNORE
    other = np.where(label == IGNORE, 2, prediction)
    names = [*CASE_SCORES]
    np.testing.assert_array_equal(
        case_scores(names, prediction, label, 3), case_scores(names, other, label, 3)
    )
