"""Facts of a split, against arrays written by hand."""

import numpy as np
import pytest

from jaxseg.data import Data
from jaxseg.data.survey import survey
from jaxseg.types import IGNORE


class Written:
    """A data set of the cases it is given."""

    num_classes, class_names, channels, rank = 2, ("no", "yes"), 1, 2

    def __init__(self, *cases):
        self.given = list(cases)

    def open(self, root, split):
        return self.given


def case(name, shape=(4, 6), dtype=np.uint8, label=None, **fields):
    size = int(np.prod(shape))
    image = np.arange(size).reshape(*shape, 1).astype(dtype)
    label = np.arange(size).reshape(shape) % 2 if label is None else label
    return {"name": name, "image": image, "label": label.astype(np.int32), **fields}


def surveyed(*cases, labels="needed", **fields):
    return survey(Data(Written(*cases), **fields).cases("train", labels))


def odd(found):
    return {what: names for what, names in found.odd() if names}


def test_intensities_are_those_of_all_pixels():
    found = surveyed(case("a"), case("b", (2, 3)))
    assert [look.dtype for look in found.looks] == ["uint8"] * 2
    assert (found.looks[0].low, found.looks[0].high) == (0, 23)
    raw = np.concatenate([np.arange(24), np.arange(6)])
    np.testing.assert_allclose(
        found.percentiles((0.0, 50.0, 100.0)), np.percentile(raw, (0, 50, 100))
    )
    np.testing.assert_allclose(
        found.moments()[:, 0], [raw.mean() / 255, raw.std() / 255], rtol=1e-5
    )


def test_classes_are_counted_over_all_cases():
    ignored = np.full((4, 6), IGNORE)
    ignored[0, 0] = 1
    found = surveyed(case("a"), case("b", label=ignored))
    shares = found.shares()
    np.testing.assert_array_equal(shares.pixels, [12, 13])
    assert shares.ignored == 23 and shares.line(("no", "yes")).endswith("ignored 47.9 %")
    hidden = surveyed({"image": np.zeros((2, 2, 1))}, labels="hidden")
    assert hidden.shares() is None and odd(hidden) == {"an image of one value": ["list case 0"]}


def test_what_differs_from_most_is_named():
    spaced = {"spacing": (1.0, 2.0)}
    found = surveyed(
        case("a", **spaced),
        case("b", **spaced),
        case("c", (5, 6), spacing=(1.0, 1.0)),
        case("d", dtype=np.uint16, label=np.zeros((4, 6)), **spaced),
        case("e", label=np.full((4, 6), IGNORE)) | {"image": np.full((4, 6, 1), 7, np.uint8)},
    )
    assert odd(found) == {
        "another size than most": ["c"],
        "another spacing than most": ["c", "e"],
        "another dtype than most": ["d"],
        "a label of one class only": ["d"],
        "nothing but ignored pixels": ["e"],
        "an image of one value": ["e"],
    }


def test_where_no_size_is_that_of_most_none_is_odd():
    assert odd(surveyed(*(case(str(n), (4, n)) for n in range(3, 7)))) == {}


def test_a_case_that_cannot_be_used_does_not_end_the_survey():
    two = {"name": "two", "image": np.zeros((4, 6, 2)), "label": np.zeros((4, 6), np.int32)}
    nan = case("nan", dtype=np.float32)
    nan["image"][0, 0] = np.nan
    found = surveyed(case("a"), two, nan)
    assert [look.name for look in found.looks] == ["a"]
    assert "2 channels where the data set says 1" in found.refused[0]
    assert "1 pixels are NaN" in found.refused[1]


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_each_case_is_read_once(cache):
    reads = []

    class Counting(Written):
        def open(self, root, split):
            given = self.given

            class Source:
                def __len__(self):
                    return len(given)

                def __getitem__(self, index):
                    reads.append(index)
                    return given[index]

            return Source()

    survey(Data(Counting(case("a"), case("b")), cache=cache).cases("train"))
    assert reads == [0, 1]
