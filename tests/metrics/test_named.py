import dataclasses

import pytest

from jaxseg.errors import UserError
from jaxseg.metrics import CASE_SCORES, MORE, SCORES, NamedScore, name_of, needs_of, scores_of


def test_no_name_is_given_twice():
    names = [*SCORES, *MORE, *CASE_SCORES]
    assert len(names) == len(set(names))
    assert all(isinstance(score, NamedScore) for score in CASE_SCORES.values())


def test_of_distances_and_errors_the_least_is_best():
    lower = {name for name, score in CASE_SCORES.items() if not score.higher_is_better}
    in_mm = {name for name, score in CASE_SCORES.items() if score.in_mm}
    penalized = {"hd_penalized", "hd95_penalized", "assd_penalized"}
    assert in_mm == {"hd", "hd95", "hd95_pooled", "hd95_subvoxel", "assd", "asd"} | penalized
    assert lower == in_mm | {"pixel_error", "adapted_rand_error", "voi", "ece", "mce"}


def test_only_what_is_needed_is_asked_for():
    for names, needs in (
        (["hd95", "case_dice", "cldice"], set()),
        (["ap", "pq", "v_rand_thinned"], {"objects"}),
        (["hd95", "ece"], {"calibration"}),
        (["coco_ap"], {"objects", "probabilities"}),
    ):
        assert needs_of(names) == needs


@dataclasses.dataclass(frozen=True)
class RimError:
    """A score of one's own."""

    higher_is_better = False
    needs = ("objects",)
    in_mm = False
    of = total = interval = lambda self, x: None


class Called(RimError):
    name = "mine"


def test_scores_are_known_by_name_and_ones_own_by_their_class_or_name():
    own = RimError(), Called()
    found = scores_of(("dice", "hd95", own[0], "iou_micro", own[1]))
    assert found == {"hd95": CASE_SCORES["hd95"], "rim_error": own[0], "mine": own[1]}
    assert [name_of(x) for x in ("hd95", *own)] == ["hd95", "rim_error", "mine"]
    assert needs_of(found, found) == {"objects"}


class Dice(RimError):
    """Its name is taken."""


class NoTotal:
    higher_is_better, needs, in_mm, of = True, (), False, None


@pytest.mark.parametrize(
    "named, message",
    [
        (["hd59"], "no metric 'hd59'; the nearest is 'hd95'"),
        ([Dice()], "Dice is called 'dice' as another score is; give it another `name`"),
        ([RimError(), RimError()], "RimError is called 'rim_error' as another score is"),
        ([NoTotal()], "NoTotal is no score: it has no `total`"),
        ([RimError], r"expected an object, RimError\(...\)"),
    ],
)
def test_what_is_no_score_is_refused(named, message):
    with pytest.raises(UserError, match=f"evaluation.metrics: .*{message}"):
        scores_of(named)
