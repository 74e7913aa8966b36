import numpy as np
import pytest

from jaxseg.data import Data, Synthetic, train_batches
from jaxseg.data.unseen import unseen, unseen_line
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


def test_cases_are_read_until_every_class_was_seen():
    split = Split([[0, 0], [1, IGNORE]], None, np.array([[2, 0, IGNORE]], np.int8), [[0]])
    assert unseen(split, range(4), 3) == () and split.reads == [0, 1, 2]
    assert unseen(split, (0, 1, 3), 3) == (2,)
    assert unseen(Split([[IGNORE, IGNORE]]), [0], 2) == (0, 1)


def test_the_line_names_classes_and_cases():
    line = unseen_line((2, 3), ("road", "car", "bus", "tram"), 7)
    assert line.startswith("classes 2 (bus), 3 (tram): no pixel in the 7 cases to train on")
    assert unseen_line((1,), (), 7).startswith("class 1: no pixel")


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
            return batches.remarks()
        finally:
            batches.close()

    assert said() == []
    assert said(part=(1, 2))[0].startswith("class 1 (nucleus): no pixel in the 2 cases")
    assert said(part=(1, 2), labels="hidden") == []
