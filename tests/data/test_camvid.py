import numpy as np
import pytest

from jaxseg.data import CamVid
from jaxseg.errors import UserError
from jaxseg.types import IGNORE


def test_the_official_split_is_367_101_233(shared):
    root = str(shared / "data/camvid")
    sizes = [len(CamVid().open(root, s)) for s in ("train", "validation", "test")]
    assert sizes == [367, 101, 233]


def test_there_are_11_classes_and_void_is_ignored(shared):
    source = CamVid().open(str(shared / "data/camvid"), "validation")
    cases = [source[i] for i in range(0, 101, 5)]
    assert all(c["image"].shape == (360, 480, 3) for c in cases)
    seen = set(np.unique(np.stack([c["label"] for c in cases])))
    assert seen == {IGNORE, *range(11)}
    assert CamVid().num_classes == len(CamVid().class_names) == 11


def test_void_may_be_a_class_of_its_own(shared):
    dataset = CamVid(void="class")
    source = dataset.open(str(shared / "data/camvid"), "validation")
    label, known = source[0]["label"], CamVid().open(str(shared / "data/camvid"), "validation")
    np.testing.assert_array_equal(label == 11, known[0]["label"] == IGNORE)
    assert dataset.num_classes == 12 and dataset.class_names[11] == "void" and (label >= 0).all()


def test_the_sky_is_up_and_the_road_is_down(shared):
    source = CamVid().open(str(shared / "data/camvid"), "test")
    label = source[0]["label"]
    rows = [np.nonzero(label == k)[0].mean() for k in (0, 3)]
    assert rows[0] < 180 < rows[1]


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"train\.txt: no such file"):
        CamVid().open(str(tmp_path), "train")
