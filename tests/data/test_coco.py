import copy
import json
import sys

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import COCO, Data
from jaxseg.errors import UserError

mask = pytest.importorskip("pycocotools.mask")

H, W = 8, 10


def box(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def annotation(number, image, category, segmentation, crowd=0):
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": crowd,
    }


CROWD = np.zeros((H, W), np.uint8)
CROWD[6:] = 1
RUNS = {"size": [H, W], "counts": [6] + [2, 6] * (W - 1) + [2]}
PACKED = mask.encode(np.asfortranarray(CROWD))
TREE = {
    "images": [
        {"id": i, "file_name": f"{i}.png", "height": H, "width": W} for i in (7, 1, 2, 3, 4)
    ],
    "categories": [
        {"id": 3, "name": "cat"},
        {"id": 18, "name": "dog"},
        {"id": 90, "name": "hat"},
    ],
    "annotations": [
        annotation(11, 7, 18, box(0, 0, 6, 4)),
        annotation(12, 7, 3, box(4, 0, 10, 4)),  # covers two columns of the dog
        annotation(13, 7, 3, RUNS, crowd=1),
        annotation(14, 7, 18, box(0, 5, 3, 7)),  # one row of it in the crowd
        annotation(15, 1, 90, box(2, 2, 6, 6)),
        annotation(16, 1, 18, box(2, 2, 4, 4)),
    ],
}
BOTH = ("cat", "dog")


@pytest.fixture
def root(tmp_path):
    """Five images and their annotations in one file."""
    (tmp_path / "pictures").mkdir()
    for i in (7, 1, 2, 3, 4):
        picture = np.random.default_rng(i).integers(0, 256, (H, W, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"pictures/{i}.png")
    (tmp_path / "all.json").write_text(json.dumps(TREE))
    return tmp_path


def dataset(**fields):
    one = {"annotations": ("all.json", "", ""), "images": ("pictures", "", "")}
    return COCO(**{"categories": BOTH, "validation": 0.0, "unlisted": "ignore"} | one | fields)


def case(root, name, **fields):
    source = dataset(**fields).open(str(root), "train")
    return next(c for i in range(len(source)) if (c := source[i])["name"] == name)


def test_later_annotations_cover_earlier_ones_and_crowds_are_ignored(root):
    expected = np.zeros((H, W), np.int32)
    expected[6:] = -1
    expected[:4, :4], expected[:4, 4:] = 2, 1
    expected[5:7, :3] = 2
    found = case(root, "7", instances=True)
    np.testing.assert_array_equal(found["label"], expected)
    numbers = np.zeros((H, W), np.int32)
    numbers[:4, :4], numbers[:4, 4:], numbers[5:7, :3] = 1, 2, 3
    np.testing.assert_array_equal(found["instance"], numbers)
    np.testing.assert_array_equal(found["image"], np.asarray(Image.open(root / "pictures/7.png")))
    assert not case(root, "2")["label"].any() and "instance" not in case(root, "2")
    assert dataset().class_names == ("background", "cat", "dog") and dataset().num_classes == 3


@pytest.mark.parametrize(("unlisted", "hat"), [("ignore", -1), ("background", 0)])
def test_what_is_not_listed_is_ignored_or_background(root, unlisted, hat):
    label = case(root, "1", unlisted=unlisted)["label"]
    expected = np.zeros((H, W), np.int32)
    expected[2:6, 2:6] = hat
    expected[2:4, 2:4] = 2
    np.testing.assert_array_equal(label, expected)
    with pytest.raises(UserError, match="annotation 15: category 'hat' is not in"):
        case(root, "1", unlisted="refuse")
    assert case(root, "1", categories=(*BOTH, "hat"), unlisted="refuse")["label"].max() == 3


@pytest.mark.parametrize(
    "runs", [RUNS, {"size": [H, W], "counts": PACKED["counts"].decode()}], ids=["list", "packed"]
)
def test_run_lengths_are_the_mask_that_they_say(root, runs):
    harmed(root, lambda tree: tree["annotations"].append(annotation(17, 3, 3, runs)))
    np.testing.assert_array_equal(case(root, "3")["label"], CROWD)


def test_packed_run_lengths_of_any_mask_are_read(root):
    rng = np.random.default_rng(0)
    drawn = {
        i: (rng.random((H, W)) < share).astype(np.uint8)
        for i, share in ((2, 0.1), (3, 0.5), (4, 0.95))
    }
    packed = {i: mask.encode(np.asfortranarray(m))["counts"].decode() for i, m in drawn.items()}
    harmed(
        root,
        lambda tree: tree["annotations"].extend(
            annotation(20 + i, i, 3, {"size": [H, W], "counts": runs}) for i, runs in packed.items()
        ),
    )
    for i, array in drawn.items():
        np.testing.assert_array_equal(case(root, str(i))["label"], array)


def test_files_say_the_splits_or_shares_of_one(root):
    names = lambda source: [source[i]["name"] for i in range(len(source))]  # noqa: E731
    held = [names(dataset(fold=i, validation=0.2).open(str(root), "validation")) for i in range(5)]
    assert sorted(sum(held, [])) == ["1", "2", "3", "4", "7"]
    assert len(dataset().open(str(root), "validation")) == 0
    tree = copy.deepcopy(TREE)
    first = {"images": tree["images"][:3]}
    second = {"images": tree["images"][3:], "annotations": []}
    (root / "train.json").write_text(json.dumps(tree | first))
    (root / "val.json").write_text(json.dumps(tree | second))
    two = dataset(annotations=("train.json", "val.json", ""), images=("pictures", "pictures", ""))
    assert names(two.open(str(root), "train")) == ["7", "1", "2"]
    assert names(two.open(str(root), "validation")) == ["3", "4"]
    with pytest.raises(UserError, match="have no test split"):
        two.open(str(root), "test")
    (root / "val.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"train and validation both name .*pictures/1\.png"):
        two.open(str(root), "train")


def harmed(root, harm):
    tree = copy.deepcopy(TREE)
    harm(tree)
    (root / "all.json").write_text(json.dumps(tree))


def drawn(segmentation):
    return lambda tree: tree["annotations"].append(annotation(99, 4, 3, segmentation))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda t: t["annotations"][0].update(image_id=5), "annotation 11: there is no image of"),
        (lambda t: t["annotations"][0].update(category_id=5), "annotation 11: there is no categ"),
        (lambda t: t["annotations"][0].pop("category_id"), "an entry without 'category_id'"),
        (lambda t: t["categories"][1].update(name="dig"), "called 'dog'; the nearest is 'dig'"),
        (lambda t: t["images"][0].update(file_name="0.png"), r"image 0\.png: no such file"),
        (lambda t: t["images"][0].update(id=1), "two images have one id"),
        (lambda t: t["images"][0].update(height=0), r"image 7\.png: of size 0 x 10"),
        (lambda t: t.pop("categories"), "has no list 'categories'"),
        (lambda t: t.update(images=[]), "holds no image"),
        (drawn([]), "annotation 99: has no segmentation"),
        (drawn(None), "annotation 99: has no segmentation"),
        (drawn([[1, 2, 3, 4]]), "annotation 99: a polygon is x and y of three corners"),
        (drawn([[1, 2, 3, 4, 5, "6"]]), "annotation 99: a polygon is x and y"),
        (drawn([[1, 2, 3, 4, 5, float("nan")]]), "annotation 99: a polygon is x and y"),
        (drawn(box(0, 0, 1e12, 4)), "annotation 99: a polygon far outside of its image of 8 x 10"),
        (drawn({"size": [H, 9], "counts": [72]}), r"size \[8, 9\], its image is 8 x 10"),
        (drawn({"size": [H, W], "counts": [79]}), "do not add up to 8 x 10 pixels"),
        (drawn({"size": [H, W], "counts": [81, -1]}), "do not add up"),
        (drawn({"size": [H, W], "counts": "oooooo"}), "do not add up"),
        (drawn({"size": [H, W]}), "do not add up"),
    ],
)
def test_every_misfit_is_one_line_that_names_the_file(root, harm, message):
    harmed(root, harm)
    with pytest.raises(UserError, match=message) as caught:
        case(root, "4")
    assert "all.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"categories": ()}, "categories"),
        ({"categories": ("a", "a")}, "none twice"),
        ({"annotations": ("a", "b", ""), "fold": 0, "validation": 0.2}, "fold=0: annotations="),
        ({"annotations": ("a", "", "c"), "test": 0.2}, "test=0.2: annotations="),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        dataset(**fields)


def test_a_missing_file_is_named_and_so_is_a_missing_pycocotools(root, monkeypatch):
    with pytest.raises(UserError, match=r"instances_train2017\.json: no such file"):
        COCO(("cat",)).open(str(root), "train")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"jaxseg\[instance\]"):
        dataset().open(str(root), "train")


def test_an_image_of_another_size_than_its_annotations_say_is_named(root):
    harmed(root, lambda tree: tree["images"][4].update(width=9))
    with pytest.raises(UserError, match=r"all\.json: the mask is 8 x 9 and its image .*4\.png is"):
        Data(dataset(), root=str(root)).check("train")


def test_a_case_of_other_annotations_has_another_key(root):
    before = dataset().open(str(root), "train")
    keys = [before.key(i) for i in range(len(before))]
    harmed(root, lambda tree: tree["annotations"].pop())
    after = dataset().open(str(root), "train")
    assert [i for i in range(len(after)) if after.key(i) != keys[i]] == [1]
