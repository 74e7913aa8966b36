import json

import nibabel
import numpy as np
import pytest

from jaxseg.data import Data, NNUNet, ZScore
from jaxseg.errors import UserError

CASES = [f"case_{i:03d}" for i in range(5)]
SAID = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "tumour": 2, "ignore": 3},
    "numTraining": 5,
    "file_ending": ".nii.gz",
}


def write(path, array, spacing=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([spacing, spacing, spacing, 1])), path)


@pytest.fixture
def root(tmp_path):
    """Five cases of two channels: the second is the first and a thousand; one to test on."""
    for number, name in enumerate([*CASES, "new"]):
        part = "Ts" if name == "new" else "Tr"
        image = np.random.default_rng(number).integers(0, 100, (4, 5, 6)).astype(np.int16)
        write(tmp_path / f"images{part}/{name}_0000.nii.gz", image)
        write(tmp_path / f"images{part}/{name}_0001.nii.gz", image + np.int16(1000))
        if part == "Tr":
            write(tmp_path / f"labelsTr/{name}.nii.gz", (image % 4).astype(np.uint8))
    (tmp_path / "dataset.json").write_text(json.dumps(SAID))
    return tmp_path


def said(root, **changes):
    (root / "dataset.json").write_text(json.dumps(SAID | changes))


def test_channels_are_stacked_and_the_file_says_the_classes(root):
    dataset = NNUNet.of(root)
    assert dataset == NNUNet(3, 2, class_names=("background", "organ", "tumour"))
    source = dataset.open(str(root), "train")
    case = source[0]
    assert case["image"].shape == (4, 5, 6, 2) and case["image"].dtype == np.int16
    np.testing.assert_array_equal(case["image"][..., 1], case["image"][..., 0] + 1000)
    classes = case["image"][..., 0] % 4
    np.testing.assert_array_equal(case["label"], np.where(classes == 3, -1, classes))
    assert [f.split("/")[-2] for f in source.files(0)] == ["imagesTr", "imagesTr", "labelsTr"]
    whole = Data(dataset, root=str(root), normalize=ZScore()).cases("train")[0]
    assert whole["spacing"] == (2.0, 2.0, 2.0)


def test_shares_and_folds_take_the_cases_and_the_test_split_is_its_own(root):
    parts = [NNUNet(3, 2).open(str(root), s) for s in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [4, 1, 1]
    assert "label" not in parts[2][0] and parts[2][0]["name"] == "new"
    held = [NNUNet(3, 2, fold=i).open(str(root), "validation")[0]["name"] for i in range(5)]
    assert sorted(held) == CASES
    assert len(NNUNet(3, 2, validation=0.0).open(str(root), "validation")) == 0


def without_channel(root):
    (root / "imagesTr/case_002_0001.nii.gz").unlink()
    return r"imagesTr/case_002_0001\.nii\.gz: no such file, and the case case_002 has"


def with_more_channels(root):
    said(root, channel_names={"0": "T1"})
    return r"channels=2, and the file says 1; NNUNet\.of"


def without_label(root):
    (root / "labelsTr/case_002.nii.gz").unlink()
    return r"imagesTr/case_002_0000\.nii\.gz: no label .*labelsTr/case_002\.nii\.gz"


def without_image(root):
    for channel in (0, 1):
        (root / f"imagesTr/case_002_000{channel}.nii.gz").unlink()
    return r"labelsTr/case_002\.nii\.gz: no image"


def without_channel_in_its_name(root):
    (root / "imagesTr/case_002_0001.nii.gz").rename(root / "imagesTr/case_002.nii.gz")
    return r"case_002\.nii\.gz: its name does not end in _0000"


def without_file(root):
    (root / "dataset.json").unlink()
    return r"dataset\.json: no such file"


def broken_file(root):
    (root / "dataset.json").write_text("{")
    return r"dataset\.json: cannot be read"


def of_the_decathlon(root):
    (root / "dataset.json").write_text('{"modality": {"0": "MRI"}, "labels": {}}')
    return r"dataset\.json: has no 'channel_names'"


def of_regions(root):
    said(root, labels={"background": 0, "whole": [1, 2]})
    return r"label 'whole' is \[1, 2\]; one number a class"


def with_a_gap(root):
    said(root, labels={"background": 0, "b": 2})
    return "must be 0, 1, 2, ... without a gap"


def of_another_count(root):
    said(root, numTraining=9)
    return "numTraining=9, and there are 5"


def of_an_unknown_ending(root):
    said(root, file_ending=".mha")
    return r"files that end in '\.mha'"


def of_another_ending(root):
    said(root, file_ending=".png")
    return r"imagesTr: case_000_0000\.nii\.gz, .* do not end in \.png"


@pytest.mark.parametrize(
    "harm",
    [
        without_channel, with_more_channels, without_label, without_image, without_file,
        without_channel_in_its_name, broken_file, of_the_decathlon, of_regions, with_a_gap,
        of_another_count, of_an_unknown_ending, of_another_ending,
    ],
)  # fmt: skip
def test_every_misfit_is_one_line(root, harm):
    message = harm(root)
    with pytest.raises(UserError, match=message) as caught:
        NNUNet(3, 2).open(str(root), "train")
    assert "\n" not in str(caught.value)


def read_all(root):
    for split in ("train", "validation"):
        source = NNUNet(3, 2).open(str(root), split)
        for i in range(len(source)):
            source[i]


def test_channels_on_other_grids_and_scales_are_refused(root):
    path = root / "imagesTr/case_002_0001.nii.gz"
    for array, spacing, message in (
        (np.zeros((4, 5, 7), np.int16), 2.0, "4 x 5 x 7, and .* a channel of the same case, is 4"),
        (np.zeros((4, 5, 6), np.int16), 3.0, "its affine puts the voxels"),
        (np.zeros((4, 5, 6), np.uint8), 2.0, "uint8, and .* is int16; store them in one type"),
    ):
        write(path, array, spacing)
        with pytest.raises(UserError, match=message) as caught:
            read_all(root)
        assert str(caught.value).startswith(str(path))
    write(path, np.zeros((4, 5, 6), np.float32))
    read_all(root)


def test_constants_that_the_file_contradicts_are_refused(root):
    with pytest.raises(UserError, match="no split 'tran'"):
        NNUNet(3, 2).open(str(root), "tran")
    with pytest.raises(UserError, match=r"num_classes=4, and the file says 3"):
        NNUNet(4, 2).open(str(root), "train")
    with pytest.raises(UserError, match=r"class_names=\('a', 'b', 'c'\), and the file says"):
        NNUNet(3, 2, class_names=("a", "b", "c")).open(str(root), "train")


def test_folds_that_nnunet_drew_are_its_own(root):
    drawn = [{"train": CASES[i:], "val": CASES[:i]} for i in (1, 2)]
    (root / "splits_final.json").write_text(json.dumps(drawn))
    sizes = [len(NNUNet(3, 2, fold=1).open(str(root), s)) for s in ("train", "validation")]
    assert sizes == [3, 2]
    assert len(NNUNet(3, 2, validation=0.0).open(str(root), "train")) == 5
    for fold in (None, 2):
        with pytest.raises(UserError, match=rf"fold={fold}: .* holds the folds 0 to 1; set one"):
            NNUNet(3, 2, fold=fold).open(str(root), "train")
    for fold, message in (
        ({"train": CASES, "val": CASES[:1]}, "fold 0 trains and validates on case_000"),
        ({"train": CASES, "val": ["x"]}, "fold 0 names cases that are not there: x"),
        ({"train": CASES}, "no list of folds with train and val"),
    ):
        (root / "splits_final.json").write_text(json.dumps([fold]))
        with pytest.raises(UserError, match=message):
            NNUNet(3, 2, fold=0).open(str(root), "validation")
