import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.metrics import Case, VoidScore, name_of, scores_of
from jaxseg.types import IGNORE

#           two right, one missed as void, one false where void is; IGNORE counts nowhere
LABEL = np.array([[0, 0, 0, 2, 1, 1, IGNORE]])
FOUND = np.array([[0, 0, 2, 0, 1, 2, 1]])
CASE = Case(prediction=FOUND, label=LABEL, num_classes=3)


@pytest.mark.parametrize(
    ("score", "void", "classes"),
    [
        ("iou", "false_positive", (2 / 4, 1 / 2)),
        ("iou", "ignored", (2 / 3, 1 / 2)),
        ("recall", "false_positive", (2 / 3, 1 / 2)),
        ("recall", "ignored", (2 / 3, 1 / 2)),
        ("precision", "false_positive", (2 / 3, 1)),
        ("precision", "ignored", (1, 1)),
        ("dice", "false_positive", (4 / 6, 2 / 3)),
    ],
)
def test_a_prediction_where_the_label_is_void_counts_as_it_says(score, void, classes):
    one = VoidScore(score, void)
    value, each = one.total([one.of(CASE)])
    np.testing.assert_allclose(each, [*classes, np.nan])
    assert value == pytest.approx(np.mean(classes))
    assert name_of(one) == f"{score}_void_{void}" and name_of(one) in scores_of([one])


def test_cases_are_counted_together_and_the_void_class_may_stand_anywhere():
    first = Case(prediction=np.array([1, 1]), label=np.array([1, 2]), num_classes=3)
    second = Case(prediction=np.array([1, 1, 0]), label=np.array([1, 0, 2]), num_classes=3)
    score = VoidScore("iou", "ignored", number=0)
    value, each = score.total([score.of(first), score.of(second)])
    np.testing.assert_allclose(each, [np.nan, 2 / 3, 0])  # the class before void's is class 2's
    assert value == pytest.approx(1 / 3)
    low, high = score.interval([score.of(first), score.of(second)])
    assert low <= value <= high


def test_a_class_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="number=3: there are 3 classes"):
        VoidScore(number=3).of(CASE)
