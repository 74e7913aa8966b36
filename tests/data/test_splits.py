import pytest

from jaxseg.data.splits import Shares
from jaxseg.errors import UserError

NAMES = [f"p{patient}_{slice_}" for patient in range(7) for slice_ in range(3)]


def drawn(shares, names=NAMES, **how):
    return {
        split: shares.chosen(names, split, "here", **how)
        for split in ("train", "validation", "test")
        if split != "test" or shares.test
    }


@pytest.mark.parametrize("test", [0.0, 0.2])
@pytest.mark.parametrize("ordered", [False, True])
def test_each_case_validates_in_just_one_fold(test, ordered):
    folds = [drawn(Shares(test=test, fold=fold, folds=4), ordered=ordered) for fold in range(4)]
    held = [name for parts in folds for name in parts["validation"]]
    outside = folds[0].get("test", set())
    assert sorted(held) == sorted(set(NAMES) - outside) and len(outside) == round(test * 21)
    assert {len(parts["validation"]) for parts in folds} <= {4, 5, 6}
    for parts in folds:
        assert not parts["train"] & parts["validation"]
        assert parts["train"] | parts["validation"] | outside == set(NAMES)


def test_folds_depend_on_names_and_seed_and_not_on_the_order_of_files():
    shares = Shares(fold=1, folds=3)
    assert drawn(shares) == drawn(shares, NAMES[::-1])
    others = [drawn(Shares(fold=1, folds=3, seed=seed))["validation"] for seed in range(4)]
    assert len(set(map(frozenset, others))) > 1


def test_the_folds_of_a_stack_are_runs_of_slices():
    parts = drawn(Shares(fold=1, folds=3), list("abcdefghi"), ordered=True)
    assert parts == {"validation": set("def"), "train": set("abcghi")}


@pytest.mark.parametrize("fold", [None, 0, 2])
def test_a_group_stays_together(fold):
    for group in (r"p\d", r"(p\d)_"):
        parts = drawn(Shares(0.3, fold=fold, folds=3, group=group))
        patients = [{name[:2] for name in parts[split]} for split in ("train", "validation")]
        assert not patients[0] & patients[1]
        assert len(patients[0] | patients[1]) == 7 and len(parts["validation"]) % 3 == 0


def test_without_validation_every_case_trains():
    assert drawn(Shares(validation=0.0)) == {"train": set(NAMES), "validation": set()}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"folds": 1}, "folds=1: must be at least 2"),
        ({"fold": 5}, "fold=5: must be from 0 to 4"),
        ({"fold": -1}, "fold=-1: must be from 0 to 4"),
        ({"fold": 0, "validation": 0.0}, "leave out fold or validation=0.0"),
        ({"group": "("}, "no regular expression"),
        ({"validation": 0.6, "test": 0.4}, "shares of the files"),
    ],
)
def test_impossible_shares_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Shares(**fields)


def test_what_leaves_nothing_is_said():
    with pytest.raises(UserError, match="here: folds=5 need as many cases; there are 3"):
        Shares(fold=0).chosen(["a", "b", "c"], "train", "here")
    with pytest.raises(UserError, match="no validation case of 1; Region splits one case"):
        Shares().chosen(["a"], "validation", "here")
    with pytest.raises(UserError, match="here: x is not matched by group='p'"):
        Shares(group="p").chosen(["p1", "x"], "train", "here")
