import dataclasses
import json
import math

import numpy as np

from jaxseg.metrics import Case, Confusion, Evaluated, bootstrap_interval, scores_of


def some(n: int = 6, k: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 50, (n, k, k)).astype(np.int64)


def evaluated(named=("dice", "iou_micro", "case_dice", "ece"), matrices=None) -> Evaluated:
    rng = np.random.default_rng(1)
    matrices = some() if matrices is None else matrices
    records = {
        "case_dice": [np.stack([row, np.zeros(3)]) for row in rng.random((6, 3))],
        "ece": [np.array([[10.0, 10], [6, 9], [5, 9]])] * 6,
    }
    return Evaluated(
        Confusion(matrix=matrices.sum(0)),  # pyright: ignore[reportCallIssue]
        named,
        {name: records[name] for name in records if name in named},
        matrices,
    )


def test_scores_are_those_of_pixels_and_then_those_of_cases():
    found = evaluated()
    scores = found.scores(("a", "b", "c"))
    assert scores.items() >= found.confusion.scores(("a", "b", "c")).items()
    assert math.isclose(scores["iou_micro"], found.confusion.average("iou", "micro"))
    table = np.stack(found.records["case_dice"])[:, 0]
    assert math.isclose(scores["case_dice"], table.mean())
    assert math.isclose(scores["case_dice_per_class"]["b"], table[:, 1].mean())
    assert math.isclose(scores["ece"], (1 + 0) / 20)
    assert json.loads(json.dumps(scores)) == scores


def test_each_named_score_has_an_interval_that_holds_it():
    found = evaluated()
    scores, intervals = found.scores(), found.intervals()
    assert list(intervals) == [f"{name}_interval" for name in found.named]
    for name in found.named:
        low, high = intervals[f"{name}_interval"]
        assert low <= scores[name] <= high
        assert low < high or name == "ece"  # whose cases are all alike
    of_cases = np.stack(found.records["case_dice"])[:, 0].mean(1)
    assert intervals["case_dice_interval"] == list(bootstrap_interval(of_cases))


def test_cases_that_are_alike_have_an_interval_of_one_point():
    low, high = evaluated(("dice",), np.stack([some(1)[0]] * 5)).intervals()["dice_interval"]
    assert math.isclose(low, high)


def test_without_the_matrices_of_cases_scores_of_pixels_have_no_interval():
    found = evaluated()
    bare = Evaluated(found.confusion, found.named, found.records)
    assert list(bare.intervals()) == ["case_dice_interval", "ece_interval"]


def test_the_unit_of_distances_is_named_where_there_are_any():
    plain = evaluated()
    assert plain.distances_in == {}
    records = {"hd95": [np.array([[1.0, 2.0, 3.0], [0, 0, 0]])]}
    assert Evaluated(plain.confusion, ("hd95",), records).distances_in == {"distances_in": "pixels"}
    in_mm = Evaluated(plain.confusion, ("hd95",), records, None, "mm")
    assert in_mm.distances_in == {"distances_in": "mm"}


def test_the_cases_that_a_score_leaves_out_stand_beside_it():
    plain, nan = evaluated(), np.nan
    records = {
        "hd95": [np.array([[nan, 2.0, 3.0], [0, 0, 0]]), np.array([[nan, nan, 1.0], [0, 1, 0]])],
        "case_dice": plain.records["case_dice"],
    }
    scores = Evaluated(plain.confusion, ("hd95", "case_dice"), records).scores()
    assert scores["hd95"] == (2.5 + 1) / 2 and scores["hd95_cases_left_out"] == 1
    assert "case_dice_cases_left_out" not in scores


@dataclasses.dataclass(frozen=True)
class Pixels:
    """A score of one's own: how many pixels are predicted to be of any class but 0."""

    higher_is_better = False
    needs = ()
    in_mm = False

    def of(self, case):
        return int((case.prediction > 0).sum())

    def total(self, records):
        return float(np.mean(records)), None

    def interval(self, records):
        return min(records), max(records)


def test_a_score_of_ones_own_is_reported_as_ours_are():
    plain, scores = evaluated(), scores_of(("dice", Pixels()))
    case = Case(np.array([[0, 1, 2]], np.int32), np.zeros((1, 3), np.int32), 3)
    records = {name: [score.of(case)] for name, score in scores.items()}
    found = Evaluated(plain.confusion, ("dice", "pixels"), records, of_cases=scores)
    assert found.scores()["pixels"] == 2 and found.intervals()["pixels_interval"] == [2, 2]
    assert "pixels_cases_left_out" not in found.scores() and found.distances_in == {}
