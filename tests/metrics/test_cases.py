import dataclasses

import numpy as np
import pytest

from jaxseg.metrics import (
    CASE_SCORES,
    Case,
    Confusion,
    Found,
    LeavesOut,
    ObjectMaps,
    boundary_iou,
    hausdorff,
    painted,
    surfaces,
)
from jaxseg.objects import Instances, background_classes
from jaxseg.types import IGNORE

ONE_A_CASE = [name for name in CASE_SCORES if not name.startswith("coco")]


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two balls of class 1, one of class 2, of which the prediction has moved all."""
    grid = np.indices((30, 40))
    label = np.zeros((30, 40), np.int32)
    for number, (y, x) in ((1, (8, 8)), (1, (20, 12)), (2, (15, 30))):
        label[((grid - np.array([y, x]).reshape(2, 1, 1)) ** 2).sum(0) <= 16] = number
    return np.roll(label, 1, axis=1), label


def known(prediction, label, k: int = 3, spacing=None, leave_out=(), sure: float = 1.0) -> Case:
    """Objects are components; the prediction is as ``sure`` of each pixel, one bin of it."""
    things = tuple(n for n in range(k) if n not in leave_out)
    parts = Instances()
    seen = label != IGNORE
    right = (prediction == label)[seen].sum()
    one_hot = np.eye(k)[prediction]
    return Case(
        prediction,
        label,
        k,
        spacing=spacing,
        leave_out=leave_out,
        things=things,
        found=ObjectMaps(*parts.found(prediction, things)),
        true=ObjectMaps(*parts.true(label, things)),
        probabilities=sure * one_hot + (1 - sure) / (k - 1) * (1 - one_hot),
        calibration=np.array([[seen.sum()], [right], [sure * seen.sum()]], float),
    )


def total(name: str, *cases: Case):
    score = CASE_SCORES[name]
    return score.total([score.of(case) for case in cases])


@pytest.mark.parametrize("rank", [2, 3])
def test_every_score_is_perfect_of_a_perfect_prediction(rank):
    label = pair()[1] if rank == 2 else np.stack([pair()[1]] * 4)
    case = known(label, label)
    for name in CASE_SCORES if rank == 2 else ONE_A_CASE:
        if name.startswith("coco"):
            pytest.importorskip("pycocotools")
        value, classes = total(name, case, case)
        best = float(CASE_SCORES[name].higher_is_better)
        np.testing.assert_allclose(value, best, err_msg=name, atol=1e-12)
        assert classes is None or np.allclose(classes, best), name


@pytest.mark.parametrize("name", CASE_SCORES)
def test_no_score_is_better_of_a_worse_prediction(name):
    if name.startswith("coco"):
        pytest.importorskip("pycocotools")
    prediction, label = pair()
    worse = np.roll(label, 3, axis=1)
    near, far = (total(name, known(x, label, leave_out=(0,)))[0] for x in (prediction, worse))
    worse_by = near - far if CASE_SCORES[name].higher_is_better else far - near
    # The skeleton of a small ball is a point or two, which may stay inside.
    assert worse_by > 0 or (name in ("cldice", "coco_ap75", "ap75") and worse_by == 0)


def test_scores_are_those_of_each_class():
    prediction, label = pair()
    case = known(prediction, label)
    counted = Confusion.of(prediction[None], label[None], 3).on_host()
    for name in ("dice", "iou", "precision", "recall"):
        found, _ = CASE_SCORES[f"case_{name}"].of(case)
        np.testing.assert_allclose(found, getattr(counted, name)())
    masks = prediction == 2, label == 2
    assert CASE_SCORES["pixel_error"].of(case)[0, 2] == (masks[0] != masks[1]).mean()
    assert CASE_SCORES["hd95"].of(case)[0, 2] == hausdorff(*masks, percentile=95.0)
    assert CASE_SCORES["asd"].of(case)[0, 2] == surfaces(*masks).average("prediction")
    assert CASE_SCORES["boundary_iou"].of(case)[0, 2] == boundary_iou(*masks)


def test_distances_are_in_the_unit_of_the_spacing():
    one, two = (known(*pair(), spacing=s) for s in (None, (2.0, 2.0)))
    for name, score in CASE_SCORES.items():
        if score.in_mm:
            np.testing.assert_allclose(score.of(two), 2 * score.of(one), err_msg=name)
    assert (CASE_SCORES["nsd"].of(two) < CASE_SCORES["nsd"].of(one)).any()
    assert one.diagonal == 50 and two.diagonal == 100  # 30 x 40 pixels


def missing(n: int, of: int = 10) -> list[Case]:
    """Cases of one ball found a pixel aside, of which the last ``n`` find nothing.

    The classes have no names, and so class 0 is background.
    """
    prediction, label = (np.where(x == 2, 0, x) for x in pair())
    background = background_classes(2, None)
    found = known(prediction, label, k=2, leave_out=background)
    lost = known(0 * prediction, label, k=2, leave_out=background)
    return [found] * (of - n) + [lost] * n


WORSENS = [
    name
    for name, score in CASE_SCORES.items()
    if name not in ("ece", "mce", "pixel_error")  # of all pixels, of which few are objects
    and not (isinstance(score, LeavesOut) and score.left_out([]) is not None and score.in_mm)
]


@pytest.mark.parametrize("name", WORSENS)
def test_no_score_improves_as_objects_are_missed(name):
    if name.startswith("coco"):
        pytest.importorskip("pycocotools")
    values = [total(name, *missing(n))[0] for n in (0, 5, 9, 10)]
    sign = 1 if CASE_SCORES[name].higher_is_better else -1
    steps = sign * np.diff(values)
    # Quality is of matches alone; of an object moved by a pixel, the IoU is below 0.75.
    assert np.all(steps <= 0) if name in ("sq", "ap75", "coco_ap75") else np.all(steps < 0), values


def test_scores_have_their_stated_value_where_all_is_missed():
    for name in ("nsd", "nsd2", "nsd_subvoxel", "case_dice", "cldice", "ap", "aji", "pq"):
        assert total(name, *missing(10))[0] == 0, name
    for name in ("hd_penalized", "hd95_penalized", "assd_penalized"):
        assert total(name, *missing(10))[0] == 50  # the diagonal of 30 x 40 pixels
        plain = name.removesuffix("_penalized")
        assert total(name, *missing(0))[0] == total(plain, *missing(0))[0]


def test_the_cases_that_a_distance_leaves_out_are_counted():
    for name in ("hd", "hd95", "hd95_pooled", "hd95_subvoxel", "assd", "asd"):
        score = CASE_SCORES[name]
        assert isinstance(score, LeavesOut)
        for n in (0, 5, 10):
            assert score.left_out([score.of(case) for case in missing(n)]) == n
        # What is in neither is not left out: there was nothing to find.
        empty = known(*np.zeros((2, 8, 8), np.int32), k=2, leave_out=(0,))
        assert score.left_out([score.of(empty)]) == 0


def test_a_changed_case_has_surfaces_of_its_own():
    case = known(*pair(), leave_out=(0,))
    before = total("hd", case)[0]
    wider = dataclasses.replace(case, spacing=(2.0, 2.0))
    assert total("hd", wider)[0] == 2 * before


def test_absent_classes_and_those_left_out_have_no_score():
    case = known(*pair(), k=4, leave_out=(0,))
    for name in ONE_A_CASE:
        _, classes = total(name, case)
        if classes is not None:
            assert np.isnan(classes).tolist() == [True, False, False, True], name
    assert np.isnan(total("case_dice", known(*np.zeros((2, 4, 4), np.int32), leave_out=(0,)))[0])


@pytest.mark.parametrize("name", ONE_A_CASE)
def test_where_the_label_is_ignored_nothing_counts(name):
    prediction, label = pair()
    label[:, :20] = IGNORE
    other = np.where(label == IGNORE, 2, prediction)
    values = [total(name, known(x, label, leave_out=(0,)))[1] for x in (prediction, other)]
    if values[0] is not None:
        np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("name", ["pq", "sq", "rq", "ece", "mce"])
def test_pooled_scores_of_parts_are_those_of_the_whole(name):
    # The same three balls twice: side by side in one image, or in two of which one is wrong.
    prediction, label = pair()
    wrong = np.roll(label, 5, axis=0)
    parts = known(prediction, label, sure=0.9), known(wrong, label, sure=0.9)
    whole = known(np.hstack([prediction, wrong]), np.hstack([label, label]), sure=0.9)
    drop = {"leave_out": (0,), "things": (1, 2)}  # the background of the whole is one object
    parts = [dataclasses.replace(case, **drop) for case in parts]
    whole = dataclasses.replace(whole, **drop)
    for one, two in zip(total(name, *parts), total(name, whole), strict=True):
        if one is not None:
            np.testing.assert_allclose(one, two, rtol=1e-6)


def test_calibration_is_the_gap_between_confidence_and_accuracy():
    prediction, label = pair()
    right = (prediction == label).mean()
    case = known(prediction, label, sure=0.75)
    np.testing.assert_allclose(total("ece", case)[0], abs(right - 0.75), rtol=1e-6)
    assert total("ece", case)[1] is None


def test_cocos_crowd_is_what_is_ignored():
    pytest.importorskip("pycocotools")
    label = np.zeros((60, 80), np.int32)
    label[30:50, 40:70] = 1
    label[5:20, 5:20] = IGNORE  # what is found there comes first, of two that are as sure
    prediction = np.where(label == IGNORE, 1, label)
    assert total("coco_ap", known(prediction, label, k=2, leave_out=(0,)))[0] > 1 - 1e-9
    without = np.where(label == IGNORE, 0, label)
    assert total("coco_ap", known(prediction, without, k=2, leave_out=(0,)))[0] < 1 - 1e-9


def test_detections_that_overlap_are_painted_by_ascending_score():
    masks = np.zeros((4, 1, 6), bool)
    masks[0, 0, :4], masks[1, 0, 2:], masks[2, 0, 1], masks[3, 0, 3] = True, True, True, True
    first, second, lost, other = (
        Found(0, k, mask, score)
        for k, mask, score in zip((1, 1, 2, 2), masks, (0.9, 0.5, 0.1, 0.9), strict=True)
    )
    maps = painted((first, second, lost, other), np.zeros((1, 6), np.int32))
    assert maps.classes.tolist() == [[1, 1, 1, 1, 1, 1]]
    assert maps.numbers.tolist() == [[4, 4, 4, 4, 2, 2]]  # of equal scores the first is on top
    empty = painted((), np.array([[0, 2]], np.int32))
    assert empty.classes.tolist() == [[0, 2]] and not empty.numbers.any()


@pytest.mark.parametrize("name", ["ap", "aji", "pq", "v_rand", "voi"])
def test_scores_of_object_maps_see_detections_as_they_are_painted(name):
    prediction, label = pair()
    case = known(prediction, label, leave_out=(0,))
    assert case.found is not None
    numbers = np.unique(case.found.numbers[case.found.numbers > 0])
    masks = [case.found.numbers == n for n in numbers]
    given = [Found(0, int(prediction[m].max()), m, 0.5) for m in masks]
    below = Found(0, 2, given[0].mask, 0.1)  # covered whole
    no_thing = Found(0, 0, np.ones_like(given[0].mask), 0.9)  # class 0 has no objects
    drawn = dataclasses.replace(
        case, prediction=0 * prediction, found=None, detections=(no_thing, *given, below)
    )
    np.testing.assert_allclose(total(name, drawn)[0], total(name, case)[0])


def test_cocos_objects_are_ranked_by_their_probability():
    pytest.importorskip("pycocotools")
    label = np.zeros((60, 80), np.int32)
    label[5:20, 5:20] = 1
    prediction = label.copy()
    prediction[30:50, 40:70] = 1  # a false object, once the surer and once the less sure
    case = known(prediction, label, k=2, leave_out=(0,))
    assert case.probabilities is not None
    found = []
    for sure in (0.6, 0.99):
        probabilities = np.where(np.arange(60)[:, None, None] > 25, sure, 0.8 * case.probabilities)
        found.append(total("coco_ap", dataclasses.replace(case, probabilities=probabilities))[0])
    assert found == pytest.approx([1, 0.5])


@pytest.mark.parametrize("name", CASE_SCORES)
def test_intervals_hold_the_score(name):
    if name.startswith("coco"):
        pytest.importorskip("pycocotools")
    prediction, label = pair()
    cases = [known(np.roll(label, n, axis=1), label, leave_out=(0,), sure=0.9) for n in range(5)]
    score = CASE_SCORES[name]
    made = [score.of(case) for case in cases]
    low, high = score.interval(made)
    assert low <= score.total(made)[0] <= high and (low < high or name == "cldice")
