import pickle
import time

import numpy as np
import pytest
from skimage.filters import threshold_otsu
from skimage.measure import label as components

from jaxseg.data import Synthetic
from jaxseg.errors import UserError


@pytest.mark.parametrize("size", [(64, 48), (24, 28, 32)])
def test_rank_follows_the_size(size):
    dataset = Synthetic(size=size, radius=(3.0, 6.0), instances=True)
    case = dataset.open("", "train")[0]
    assert dataset.rank == len(size)
    assert case["image"].shape == (*size, 1) and case["image"].dtype == np.uint8
    assert case["label"].shape == case["instance"].shape == size
    np.testing.assert_array_equal(case["label"], case["instance"] > 0)
    assert 0.1 < case["label"].mean() < 0.4


def test_a_case_depends_on_seed_split_and_index_only():
    def image(seed=0, split="train", index=3):
        return Synthetic(size=(32, 32), seed=seed).open("", split)[index]["image"]

    np.testing.assert_array_equal(image(), image())
    source = Synthetic(size=(32, 32)).open("", "train")
    for other in (1, 0):
        source[other]
    np.testing.assert_array_equal(source[3]["image"], image())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[3]["image"], image())
    for changed in (image(seed=1), image(split="validation"), image(index=4)):
        assert (changed != image()).mean() > 0.5


def test_some_nuclei_touch_and_numbers_have_no_gaps():
    touching = 0
    source = Synthetic(instances=True).open("", "train")
    for i in range(5):
        case = source[i]
        count = case["instance"].max()
        assert set(np.unique(case["instance"])) == set(range(count + 1))
        touching += count - components(case["label"], connectivity=1).max()
    assert touching >= 10


def test_the_rim_is_a_class_of_its_own_if_asked_for():
    dataset = Synthetic(boundary=True)
    assert dataset.num_classes == len(dataset.class_names) == 3
    assert set(np.unique(dataset.open("", "train")[0]["label"])) == {0, 1, 2}


def test_a_threshold_does_not_solve_it():
    source = Synthetic().open("", "validation")
    scores = []
    for i in range(12):
        image, label = source[i]["image"][..., 0], source[i]["label"] > 0
        guess = image > threshold_otsu(image)
        scores.append(2 * (guess & label).sum() / (guess.sum() + label.sum()))
    assert np.mean(scores) < 0.9


def test_an_image_takes_milliseconds():
    source = Synthetic().open("", "train")
    source[0]
    start = time.perf_counter()
    for i in range(5):
        source[i]
    assert (time.perf_counter() - start) / 5 < 0.1  # 7 ms unchecked and alone


def test_the_ends_of_a_split_are_known():
    source = Synthetic(size=(16, 16), count=(5, 2, 1)).open("", "validation")
    assert len(source) == 2
    with pytest.raises(IndexError):
        source[2]
    with pytest.raises(UserError, match="no split 'val'; there are train, validation, test"):
        Synthetic().open("", "val")


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("radius", (), r"\(\): must be two, above 0, the smaller first"),
        ("radius", (5.0,), "must be two"),
        ("radius", (5.0, 3.0), "the smaller first"),
        ("radius", (0.0, 3.0), "above 0"),
        ("count", (), r"\(\): must be three"),
        ("size", (), r"\(\): must be two or three"),
        ("size", (8, 0), "above 0"),
        ("noise", float("nan"), "nan: must be at least 0"),
        ("seed", -1, "-1: must be at least 0"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(field, value, message):
    fields = {"size": (32, 32), "count": (1, 1, 1), "radius": (3.0, 5.0)} | {field: value}
    made = object.__new__(Synthetic)  # as an override builds it: past the checks of types
    for name, default in (("density", 0.2), ("noise", 0.1), ("seed", 0), *fields.items()):
        object.__setattr__(made, name, fields.get(name, default))
    with pytest.raises(UserError, match=rf"data\.dataset\.{field}=.*{message}"):
        made.__post_init__()
