import numpy as np
import pytest

from jaxseg.data import Data, Hippocampus, ZScore
from jaxseg.errors import UserError


def test_each_volume_validates_in_one_fold(shared):
    root = str(shared / "data/hippocampus")
    held = []
    for fold in range(5):
        train, val = (Hippocampus(fold).open(root, s) for s in ("train", "validation"))
        assert (len(train), len(val)) == (208, 52)
        assert not {p.name for p in train.pairs} & {p.name for p in val.pairs}
        held += [p.name for p in val.pairs]
    assert len(set(held)) == 260


def test_a_volume_that_trains_and_validates_is_refused_by_name(tmp_path):
    (tmp_path / "splits_nnunet_5fold.json").write_text('[{"train": ["a", "b"], "val": ["b"]}]')
    with pytest.raises(UserError, match="fold 0 trains and validates on b"):
        Hippocampus().open(str(tmp_path), "train")


def test_volumes_are_z_scored_and_labels_are_whole_numbers(shared):
    data = Data(Hippocampus(), str(shared / "data/hippocampus"), normalize=ZScore())
    cases = data.cases("validation")
    for i in range(0, 52, 6):
        case = cases[i]
        assert case["image"].shape == (*case["label"].shape, 1) and case["label"].ndim == 3
        assert abs(case["image"].mean()) < 1e-4 and abs(case["image"].std() - 1) < 1e-4
        assert set(np.unique(case["label"])) == {0, 1, 2}


def test_voxels_are_a_millimetre_wide_by_their_headers(shared):
    data = Data(Hippocampus(), str(shared / "data/hippocampus"))
    for split in ("train", "validation"):
        cases = data.cases(split)
        assert {cases[i]["spacing"] for i in range(0, len(cases), 13)} == {(1.0, 1.0, 1.0)}


def test_a_label_file_of_floats_is_read(shared):
    import nibabel

    root = shared / "data/hippocampus"
    floats = [
        p
        for p in sorted((root / "labels").iterdir())
        if nibabel.load(p).get_data_dtype() == np.float32
    ]
    assert len(floats) == 2
    names = {p.name.split(".")[0] for p in floats}
    for fold in range(5):
        source = Hippocampus(fold).open(str(root), "validation")
        for i, pair in enumerate(source.pairs):
            if pair.name in names:
                assert source[i]["label"].dtype == np.int32


def test_a_fold_that_does_not_exist_and_the_test_split_are_refused(shared):
    root = str(shared / "data/hippocampus")
    with pytest.raises(UserError, match="fold=7"):
        Hippocampus(7).open(root, "train")
    with pytest.raises(UserError, match="no split 'test'"):
        Hippocampus().open(root, "test")
