import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxseg.data import Data, Folder
from jaxseg.data.twins import twin
from jaxseg.errors import UserError
from jaxseg.types import IGNORE

NAMES = [f"case{i}" for i in range(10)]


def fill(images, masks, names=NAMES, size=(6, 8)):
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        rng = np.random.default_rng([i, *str(images).encode()])  # no picture twice
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            images / f"{name}.jpg"
        )
        Image.fromarray(rng.integers(0, 2, size, dtype=np.uint8)).save(masks / f"{name}.png")


def names(source):
    return [source[i]["name"] for i in range(len(source))]


def test_images_and_masks_are_matched_by_stem(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks")
    source = Folder(2).open(str(tmp_path), "train")
    case = source[0]
    assert case["image"].shape == (6, 8, 3) and case["label"].dtype == np.int32
    mask = np.asarray(Image.open(tmp_path / "masks" / f"{case['name']}.png"))
    np.testing.assert_array_equal(case["label"], mask)


def test_fractions_split_all_files_once_and_the_same_way_each_time(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks")
    folder = Folder(2, validation=0.3, test=0.1)
    parts = {s: names(folder.open(str(tmp_path), s)) for s in ("train", "validation", "test")}
    assert [len(p) for p in parts.values()] == [6, 3, 1]
    assert sorted(sum(parts.values(), [])) == NAMES
    assert parts["validation"] == names(folder.open(str(tmp_path), "validation"))
    seeds = [names(Folder(2, seed=s).open(str(tmp_path), "validation")) for s in range(8)]
    assert len({tuple(s) for s in seeds}) > 1


def test_split_files_decide_where_they_exist(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks")
    (tmp_path / "train.txt").write_text("case3\ncase1.jpg\n\n")
    (tmp_path / "val.txt").write_text("case0\n")
    assert sorted(names(Folder(2).open(str(tmp_path), "train"))) == ["case1", "case3"]
    assert names(Folder(2).open(str(tmp_path), "validation")) == ["case0"]
    with pytest.raises(UserError, match="no test.txt"):
        Folder(2).open(str(tmp_path), "test")
    (tmp_path / "val.txt").write_text("case77\n")
    with pytest.raises(UserError, match="val.txt: names case77"):
        Folder(2).open(str(tmp_path), "validation")


def test_a_dot_in_a_name_is_part_of_it(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks", ["scan", "scan.v2", "scan.v3", "other.png"])
    (tmp_path / "train.txt").write_text("scan.v2\nscan.v3.jpg\nother.png\n")
    (tmp_path / "val.txt").write_text("images/scan\n")
    train = names(Folder(2).open(str(tmp_path), "train"))
    assert train == ["other.png", "scan.v2", "scan.v3"]
    assert names(Folder(2).open(str(tmp_path), "validation")) == ["scan"]
    (tmp_path / "train.txt").write_text("scan.v4\n")
    with pytest.raises(UserError, match="train.txt: names scan.v4"):
        Folder(2).open(str(tmp_path), "train")


@pytest.mark.parametrize("opened", ["train", "validation"])
def test_a_case_that_two_split_files_name_is_refused_by_name(tmp_path, opened):
    fill(tmp_path / "images", tmp_path / "masks")
    (tmp_path / "train.txt").write_text("case3\ncase1.jpg\n")
    (tmp_path / "val.txt").write_text("case0\ncase1\n")
    with pytest.raises(UserError, match=r"both name case1; a case is to be in one"):
        Folder(2).open(str(tmp_path), opened)


@pytest.mark.parametrize("opened", ["train", "validation"])
@pytest.mark.parametrize("layout", ["files", "folders", "fractions"])
def test_identical_content_in_two_splits_is_refused_by_name(tmp_path, layout, opened):
    if layout == "folders":
        fill(tmp_path / "train/images", tmp_path / "train/masks", NAMES[:5])
        fill(tmp_path / "val/images", tmp_path / "val/masks", NAMES[:3])
        first, second = tmp_path / "train/images/case4.jpg", tmp_path / "val/images/case0.jpg"
        for i in range(3):  # one name, another picture: two cases
            Image.new("RGB", (8, 6), (i, 0, 9)).save(tmp_path / f"val/images/case{i}.jpg")
    else:
        fill(tmp_path / "images", tmp_path / "masks")
        held = names(Folder(2).open(str(tmp_path), "validation"))
        if layout == "files":
            (tmp_path / "train.txt").write_text("\n".join(set(NAMES) - set(held)))
            (tmp_path / "val.txt").write_text("\n".join(held))
        first = tmp_path / f"images/{min(set(NAMES) - set(held))}.jpg"
        second = tmp_path / f"images/{held[0]}.jpg"
    Folder(2).open(str(tmp_path), opened)
    second.write_bytes(first.read_bytes())
    with pytest.raises(UserError, match="hold the same bytes") as caught:
        Folder(2).open(str(tmp_path), opened)
    assert str(first) in str(caught.value) and str(second) in str(caught.value)


def test_twins_are_told_apart_by_their_middle(tmp_path):
    for name, middle in (("a", 1), ("b", 2), ("c", 1)):
        (tmp_path / name).write_bytes(b"x" * 9000 + bytes([middle]) + b"x" * 9000)
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert twin([a], [b]) is None and twin([a, b], []) is None
    assert twin([b, a], [c]) == (a, c)


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_sub_folders_decide_where_they_exist(tmp_path, layout):
    for split, chosen in (("train", NAMES[:7]), ("val", NAMES[7:])):
        places = [tmp_path / layout.format(split=split, kind=k) for k in ("images", "masks")]
        fill(*places, chosen)
    assert names(Folder(2).open(str(tmp_path), "train")) == NAMES[:7]
    assert names(Folder(2).open(str(tmp_path), "validation")) == NAMES[7:]
    with pytest.raises(UserError, match="split 'test'"):
        Folder(2).open(str(tmp_path), "test")


def test_a_test_split_may_have_no_masks(tmp_path):
    fill(tmp_path / "train/images", tmp_path / "train/masks")
    fill(tmp_path / "test/images", tmp_path / "elsewhere")
    source = Folder(2).open(str(tmp_path), "test")
    assert len(source) == 10 and "label" not in source[0]


def test_an_image_without_mask_is_refused_when_opened(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks")
    (tmp_path / "masks" / "case4.png").unlink()
    with pytest.raises(UserError, match=r"case4\.jpg: no mask .*case4\.\*"):
        Folder(2).open(str(tmp_path), "train")


def test_a_mask_suffix_is_part_of_the_match(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks", ["a", "b"])
    for name in ("a", "b"):
        (tmp_path / "masks" / f"{name}.png").rename(tmp_path / "masks" / f"{name}_mask.png")
    assert len(Folder(2, mask_suffix="_mask", validation=0.5).open(str(tmp_path), "train")) == 1
    with pytest.raises(UserError, match="no mask"):
        Folder(2).open(str(tmp_path), "train")


def test_an_empty_folder_a_missing_one_and_an_unknown_split_are_one_line(tmp_path):
    with pytest.raises(UserError, match="data.root is not set"):
        Folder(2).open("", "train")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        Folder(2).open(str(tmp_path / "nowhere"), "train")
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match="images: holds no image"):
        Folder(2).open(str(tmp_path), "train")
    with pytest.raises(UserError, match="no split 'vaildation'; there are train, validation, test"):
        Folder(2).open(str(tmp_path), "vaildation")


def test_two_images_of_one_name_are_refused(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks", ["a", "b"])
    Image.new("L", (8, 6)).save(tmp_path / "images" / "a.png")
    with pytest.raises(UserError, match="has the same name"):
        Folder(2).open(str(tmp_path), "train")


def stacks(root, slices=10, mask_slices=10):
    for kind, count in (("images", slices), ("masks", mask_slices)):
        (root / kind).mkdir()
        depth = np.arange(count, dtype=np.uint8) % 2 if kind == "masks" else np.arange(count)
        stack = np.broadcast_to(depth[:, None, None], (count, 6, 8)).astype(np.uint8)
        tifffile.imwrite(root / kind / "s.tif", stack, photometric="minisblack")


def test_the_slices_of_one_stack_are_cases_at_rank_2_split_along_it(tmp_path):
    stacks(tmp_path)
    train = Folder(2, channels=1).open(str(tmp_path), "train")
    assert names(train) == [f"s_{i:04d}" for i in range(8)]
    held = Folder(2, channels=1).open(str(tmp_path), "validation")
    assert names(held) == ["s_0008", "s_0009"]
    assert held[1]["image"].max() == 9 and held[1]["label"].max() == 1
    folds = [Folder(2, channels=1, fold=i).open(str(tmp_path), "validation") for i in range(5)]
    assert [names(f) for f in folds] == [
        [f"s_{j:04d}" for j in (i, i + 1)] for i in (8, 6, 4, 2, 0)
    ]


def test_a_stack_is_one_volume_at_rank_3(tmp_path):
    (tmp_path / "train").mkdir()
    stacks(tmp_path / "train")
    case = Folder(2, channels=1, rank=3).open(str(tmp_path), "train")[0]
    assert case["image"].shape == (10, 6, 8, 1) and case["label"].shape == (10, 6, 8)


def test_stacks_of_different_length_are_refused(tmp_path):
    stacks(tmp_path, mask_slices=9)
    with pytest.raises(UserError, match="9 slices, its image .* has 10"):
        Folder(2, channels=1).open(str(tmp_path), "train")


def test_numbered_objects_are_kept_if_asked_for(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks", ["a", "b"])
    for name in ("a", "b"):
        numbers = np.arange(48, dtype=np.uint16).reshape(6, 8) * 10
        Image.fromarray(numbers).save(tmp_path / "masks" / f"{name}.png")
    case = Folder(2, instances=True).open(str(tmp_path), "train")[0]
    np.testing.assert_array_equal(case["instance"].reshape(-1), np.arange(48) * 10)
    np.testing.assert_array_equal(case["label"], case["instance"] > 0)


def test_every_file_validates_in_just_one_fold(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks")
    held = [names(Folder(2, fold=i).open(str(tmp_path), "validation")) for i in range(5)]
    assert sorted(sum(held, [])) == NAMES and {len(part) for part in held} == {2}
    train = names(Folder(2, fold=3).open(str(tmp_path), "train"))
    assert sorted(train + held[3]) == NAMES
    (tmp_path / "train.txt").write_text("case3\n")
    with pytest.raises(UserError, match="fold=0: .*train.txt fixes the splits"):
        Folder(2, fold=0).open(str(tmp_path), "train")


@pytest.mark.parametrize("layout", ["fractions", "files", "folders"])
def test_a_folder_may_have_nothing_to_validate_on(tmp_path, layout):
    place = tmp_path / "train" if layout == "folders" else tmp_path
    fill(place / "images", place / "masks")
    if layout == "files":
        (tmp_path / "train.txt").write_text("\n".join(NAMES))
    folder = Folder(2, validation=0.0)
    assert len(folder.open(str(tmp_path), "train")) == 10
    assert len(folder.open(str(tmp_path), "validation")) == 0
    if layout != "fractions":
        with pytest.raises(UserError):
            Folder(2).open(str(tmp_path), "validation")


def side_by_side(root):
    fill(root, root / "masks", ["a", "b", "a_b"])
    for path in (root / "masks").iterdir():
        path.rename(root / f"{path.stem}_mask.png")


def test_images_and_masks_may_lie_side_by_side(tmp_path):
    side_by_side(tmp_path)
    folder = Folder(2, images=".", masks=".", mask_suffix="_mask", validation=0.0)
    source = folder.open(str(tmp_path), "train")
    assert names(source) == ["a", "a_b", "b"]
    for case in (source[i] for i in range(3)):
        mask = np.asarray(Image.open(tmp_path / f"{case['name']}_mask.png"))
        np.testing.assert_array_equal(case["label"], mask)
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(UserError, match=r"b_mask\.png: no image .*b\.\*"):
        folder.open(str(tmp_path), "train")
    (tmp_path / "a_b_mask.png").unlink()
    with pytest.raises(UserError, match=r"a_b\.jpg: no mask .*a_b_mask\.\*"):
        folder.open(str(tmp_path), "train")
    with pytest.raises(UserError, match="mask_suffix says how"):
        Folder(2, images=".", masks="./")


def test_two_masks_of_one_name_are_refused(tmp_path):
    fill(tmp_path / "images", tmp_path / "masks", ["a", "b"])
    Image.new("L", (8, 6)).save(tmp_path / "masks" / "a.bmp")
    with pytest.raises(UserError, match=r"a\.png: a\.bmp has the same name"):
        Folder(2).open(str(tmp_path), "train")


@pytest.mark.parametrize("labels", ["optional", "hidden"])
def test_images_without_masks_train_with_ignore_everywhere(tmp_path, labels):
    fill(tmp_path / "images", tmp_path / "elsewhere")
    with pytest.raises(UserError, match="masks: no such folder; masks='' reads images"):
        Folder(2).open(str(tmp_path), "train")
    folder = Folder(2, masks="", validation=0.0)
    data = Data(folder, root=str(tmp_path), labels=labels)
    batches = data.train(batch_size=4, seed=0)
    batch = next(batches)
    batches.close()
    assert batch.image.shape == (4, 6, 8, 3) and (batch.label == IGNORE).all()
    with pytest.raises(UserError, match='no label to train on; data.labels="optional"'):
        next(Data(folder, root=str(tmp_path)).train(batch_size=4, seed=0))
    with pytest.raises(UserError, match="masks='' has no masks"):
        Folder(2, masks="", mask_suffix="_mask")
