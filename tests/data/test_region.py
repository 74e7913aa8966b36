import dataclasses
import pickle

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxseg.data import Data, Folder, Region, Synthetic
from jaxseg.errors import UserError

WHOLE = Folder(2, channels=1, validation=0.0)


@pytest.fixture
def root(tmp_path):
    """One image of 10 rows whose values are the rows; its mask is 1 in the last two."""
    rows = np.repeat(np.arange(10, dtype=np.uint8)[:, None], 6, 1)
    for kind, array in (("images", rows), ("masks", (rows > 7).astype(np.uint8))):
        (tmp_path / kind).mkdir()
        Image.fromarray(array).save(tmp_path / kind / "a.png")
    return str(tmp_path)


def seen(region, root, split):
    case = region.open(root, split)[0]
    assert case["image"].shape[:-1] == case["label"].shape
    return case["name"], np.unique(case["image"]).tolist(), int(case["label"].sum())


def test_the_first_rows_train_and_the_last_validate(root):
    region = Region(WHOLE)
    assert seen(region, root, "train") == ("a[0:8]", list(range(8)), 0)
    assert seen(region, root, "validation") == ("a[8:10]", [8, 9], 12)
    assert (region.num_classes, region.channels, region.rank) == (2, 1, 2)


def test_neither_part_sees_the_gap_and_an_axis_is_chosen(root):
    region = Region(WHOLE, validation=0.3, gap=2)
    assert seen(region, root, "train")[1] == [0, 1, 2, 3, 4]
    assert seen(region, root, "validation")[1] == [7, 8, 9]
    case = Region(WHOLE, axis=1, validation=0.5).open(root, "validation")[0]
    assert case["image"].shape == (10, 3, 1)


def test_one_volume_is_split_by_slabs(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        stack = np.repeat(np.arange(5, dtype=np.uint8), 16).reshape(5, 4, 4)
        stack = stack if kind == "images" else stack // 4
        tifffile.imwrite(tmp_path / kind / "v.tif", stack, photometric="minisblack")
    region = Region(dataclasses.replace(WHOLE, rank=3))
    assert seen(region, str(tmp_path), "train")[1] == [0, 1, 2, 3]
    assert seen(region, str(tmp_path), "validation")[1:] == ([4], 16)


def test_the_parts_are_cached_apart_and_survive_pickling(root):
    parts = [Region(WHOLE).open(root, s) for s in ("train", "validation")]
    assert parts[0].key(0) != parts[1].key(0)
    copy = pickle.loads(pickle.dumps(parts[0]))
    assert copy.key(0) == parts[0].key(0) and copy[0]["name"] == "a[0:8]"
    assert not hasattr(Region(Synthetic(count=(1, 0, 0))).open("", "train"), "nothing")
    data = Data(Region(WHOLE), root=root, patch=(4, 4))
    batches = data.train(batch_size=2, seed=0)
    assert next(batches).image.max() <= np.float32(7 / 255)
    batches.close()


def test_what_a_region_cannot_be_is_refused(root):
    for fields, message in (
        ({"axis": 2}, "axis=2: must be from 0 to 1"),
        ({"validation": 1.0}, "validation=1.0: must be above 0"),
        ({"gap": -1}, "gap=-1"),
    ):
        with pytest.raises(UserError, match=message):
            Region(WHOLE, **fields)
    with pytest.raises(UserError, match=r"a\.png: 10 x 6 leaves nothing to train on along axis 0"):
        Region(WHOLE, gap=8).open(root, "train")[0]
    with pytest.raises(UserError, match="keeps cases back to validate"):
        Region(Synthetic(count=(2, 1, 0))).open("", "train")
    with pytest.raises(UserError, match="no split 'tets'"):
        Region(WHOLE).open(root, "tets")
    with pytest.raises(UserError, match="Folder: expected an object"):
        Region(Folder)
