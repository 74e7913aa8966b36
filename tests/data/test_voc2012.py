import numpy as np
import pytest
from PIL import Image

from jaxseg.data import VOC2012
from jaxseg.errors import UserError
from jaxseg.types import IGNORE

LISTS = {
    "train": ["2007_1"],
    "val": ["2007_2"],
    "trainval": ["2007_1", "2007_2"],
    "test": ["2008_9"],
}


def write(root, lists, aug=("2007_1", "2009_3")):
    names = {name for listed in lists.values() for name in listed} | set(aug)
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for number, name in enumerate(sorted(names)):
        image = Image.new("RGB", (6, 4), (40 * number, 0, 0))
        image.save(root / "JPEGImages" / f"{name}.jpg")
        mask = Image.fromarray(np.array([[0, 20, 255, 15, 0, 0]] * 4, np.uint8), "P")
        mask.putpalette([7 * i % 256 for i in range(768)])  # colours mean nothing, indices do
        if name in ("2007_1", "2007_2"):
            mask.save(root / "SegmentationClass" / f"{name}.png")
        Image.fromarray(np.full((4, 6), 3, np.uint8)).save(
            root / "SegmentationClassAug" / f"{name}.png"
        )
    for name, listed in lists.items():
        (root / "ImageSets/Segmentation" / f"{name}.txt").write_text("\n".join(listed) + "\n")
    paths = [f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png" for n in aug]
    (root / "ImageSets/Segmentation/trainaug.txt").write_text("\n".join(paths))
    return str(root)


def names_of(source):
    return [source[i]["name"] for i in range(len(source))]


def test_splits_follow_the_lists_and_masks_hold_indices(tmp_path):
    root = write(tmp_path, LISTS)
    source = VOC2012().open(root, "train")
    assert names_of(source) == ["2007_1"]
    assert source[0]["label"].tolist() == [[0, 20, IGNORE, 15, 0, 0]] * 4
    assert names_of(VOC2012().open(root, "validation")) == ["2007_2"]
    assert names_of(VOC2012(train="trainval").open(root, "train")) == ["2007_1", "2007_2"]
    assert VOC2012().num_classes == len(VOC2012().class_names) == 21


def test_the_augmented_list_has_its_own_masks(tmp_path):
    root = write(tmp_path, LISTS)
    source = VOC2012(train="trainaug").open(root, "train")
    assert names_of(source) == ["2007_1", "2009_3"]
    assert (source[0]["label"] == 3).all()
    # the validation keeps VOC's own
    assert 20 in VOC2012(train="trainaug").open(root, "validation")[0]["label"]


def test_the_test_split_has_no_masks(tmp_path):
    source = VOC2012().open(write(tmp_path, LISTS), "test")
    assert names_of(source) == ["2008_9"] and "label" not in source[0]


@pytest.mark.parametrize(
    ("aug", "remove", "message"),
    [
        (("2007_1", "2007_2"), "", "2007_2 validate by val.txt"),
        (("2007_1",), "ImageSets/Segmentation/val.txt", "must be VOCdevkit/VOC2012"),
        (("2007_1",), "SegmentationClassAug/2007_1.png", "no image 2007_1"),
    ],
)
def test_what_would_train_on_the_wrong_images_is_refused(tmp_path, aug, remove, message):
    root = write(tmp_path, LISTS, aug)
    if remove:
        (tmp_path / remove).unlink()
    with pytest.raises(UserError, match=message):
        VOC2012(train="trainaug").open(root, "train")
