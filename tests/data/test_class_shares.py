import numpy as np
import pytest

from jaxseg.data import Data, Synthetic, train_batches
from jaxseg.data import class_shares as module
from jaxseg.data.class_shares import ClassShares, counted, shares
from jaxseg.types import IGNORE


class Split:
    """Cases that count how often they are read."""

    def __init__(self, *labels):
        self.labels, self.reads = labels, []

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        self.reads.append(index)
        label = self.labels[index]
        return {} if label is None else {"label": np.asarray(label)}


def test_shares_are_counts_of_pixels_and_ignored_ones_stand_apart():
    split = Split([[0, 0], [1, IGNORE]], None, np.array([[2, 0, IGNORE]], np.int8), [[0]])
    found = shares(split, range(4), 3)
    np.testing.assert_array_equal(found.pixels, [4, 1, 1])
    assert (found.ignored, found.read, found.cases, found.absent) == (2, 4, 4, ())
    assert found.line(("a", "b", "c")) == "a 50.0 %, b 12.5 %, c 12.5 %, ignored 25.0 %"
    assert shares(split, (0, 1, 3), 3).absent == (2,)
    assert shares(Split([[IGNORE, IGNORE]]), [0], 2).absent == (0, 1)


def test_numbers_that_are_no_class_count_nowhere():
    np.testing.assert_array_equal(counted(np.array([-7, -1, 0, 1, 200]), 2), [1, 1, 1])


def test_a_sample_spread_over_the_cases_is_read_and_the_rest_for_a_rare_class(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 3)
    split = Split(*[[[0, 1]]] * 7)
    found = shares(split, range(7), 2)
    assert split.reads == [0, 3, 6] and found.line(()).endswith(" (in 3 of 7 cases)")
    rare = Split(*[[[0]]] * 6, [[0, 1]])
    assert shares(rare, range(7), 2).absent == () and 6 in rare.reads
    assert len(set(rare.reads)) == len(rare.reads)


def test_slow_cases_do_not_hold_up_a_run(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.0)
    split = Split([[0]], [[1]], [[1]])
    assert shares(split, range(3), 2).read == 2 and split.reads == [0, 1]


def test_of_many_classes_the_rarest_are_listed_and_rare_ones_have_digits():
    found = ClassShares(np.array([10**6, *range(19, 0, -1)]), 0, 1, 1)
    assert found.line(()) == ("20 classes, the rarest: 19 0.0001 %, 18 0.0002 %, 17 0.0003 %")


def test_the_line_names_classes_and_cases():
    names = ("road", "car", "bus", "tram")
    line = ClassShares(np.array([1, 1, 0, 0]), 0, 7, 7).unseen(names)
    assert line.startswith("classes 2 (bus), 3 (tram): no pixel in the 7 cases to train on")
    assert ClassShares(np.array([1, 0]), 0, 7, 7).unseen(()).startswith("class 1: no pixel")
    assert ClassShares(np.array([1, 1]), 0, 7, 7).unseen(()) is None


@pytest.mark.parametrize("sampling", ["random", "grid"])
def test_a_part_and_a_split_without_labels_to_see_are_asked_about_themselves(sampling):
    class Rare(Synthetic):
        """Nuclei on the first case alone."""

        def open(self, root, split):
            cases = [dict(super(Rare, self).open(root, split)[n]) for n in range(4)]
            for case in cases[1:]:
                case["label"] = 0 * case["label"]
            return cases

    def said(**fields):
        data = Data(Rare(size=(16, 16), radius=(3.0, 4.0)), patch=(8, 8), sampling=sampling)
        data = Data(**{**vars(data), **fields})
        batches = train_batches(data, {}, batch_size=2, seed=0, rows_of=slice)
        try:
            found = batches.shares()
            return found and found.unseen(data.dataset.class_names)
        finally:
            batches.close()

    assert said() is None
    assert said(part=(1, 2)).startswith("class 1 (nucleus): no pixel in the 2 cases")
    assert said(part=(1, 2), labels="hidden") is None
