import numpy as np
import pytest

from jaxseg.data.shares import Shares, shares_of
from jaxseg.errors import UserError
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


def test_pixels_are_counted_by_class_and_each_case_is_read_once():
    split = Split([[0, 0], [1, IGNORE]], None, np.array([[3, 0, IGNORE]], np.int8))
    shares = shares_of(split, 4)
    assert shares == Shares((3, 1, 0, 1), ignored=2, cases=3, unlabeled=1)
    assert shares.shares == (0.6, 0.2, 0.0, 0.2) and split.reads == [0, 1, 2]


def test_a_class_without_one_pixel_is_named():
    shares = shares_of(Split([[0, 1]], [[1, 1]]), 4)
    assert shares.absent == (2, 3)
    line = shares.missing(("road", "car", "bus", "tram"))
    assert line.startswith("classes 2 (bus), 3 (tram): no pixel in the 2 cases of the train split")
    assert shares_of(Split([[0, 1]]), 2).missing() is None


def test_labels_ignored_throughout_leave_every_class_absent():
    shares = shares_of(Split([[IGNORE, IGNORE]]), 2)
    assert (shares.absent, shares.shares, shares.ignored) == ((0, 1), (0.0, 0.0), 2)


def test_what_is_no_class_is_refused():
    with pytest.raises(UserError, match="case 0: label values 2 with num_classes=2"):
        shares_of(Split([[0, 2]]), 2)
