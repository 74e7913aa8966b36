import numpy as np
import pytest
import tifffile

from jaxseg.data import ISBI2012, Data
from jaxseg.errors import UserError


def test_slices_0_to_23_train_and_24_to_29_validate(shared):
    root = str(shared / "data/isbi2012")
    train, held = (ISBI2012().open(root, s) for s in ("train", "validation"))
    assert [train[0]["name"], train[23]["name"], held[0]["name"]] == ["00", "23", "24"]
    assert (len(train), len(held)) == (24, 6)


def test_membrane_is_0_and_a_fifth_of_the_pixels(shared):
    cases = Data(ISBI2012(), str(shared / "data/isbi2012")).cases("validation")
    labels = np.stack([case["label"] for case in (cases[i] for i in range(6))])
    assert labels.shape == (6, 512, 512) and set(np.unique(labels)) == {0, 1}
    assert 0.18 < (labels == 0).mean() < 0.26
    # membranes are the dark part of the image
    image = cases[0]["image"][..., 0]
    assert image[labels[0] == 0].mean() < image[labels[0] == 1].mean()


def test_the_challenges_own_stacks_are_read_too(tmp_path):
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 256, (30, 16, 16), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "train-volume.tif", stack, photometric="minisblack")
    labels = np.where(stack > 100, 255, 0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "train-labels.tif", labels, photometric="minisblack")
    held = ISBI2012().open(str(tmp_path), "validation")
    np.testing.assert_array_equal(held[0]["image"][..., 0], stack[24])
    np.testing.assert_array_equal(held[5]["label"], stack[29] > 100)


def test_another_folder_and_an_unknown_split_are_refused(tmp_path):
    with pytest.raises(UserError, match="neither train/image"):
        ISBI2012().open(str(tmp_path), "train")
    with pytest.raises(UserError, match="no split 'test'; there are train, validation"):
        ISBI2012().open(str(tmp_path), "test")
