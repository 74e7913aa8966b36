import dataclasses

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxseg.data import Data, Folder
from jaxseg.data.cache import Nothing
from jaxseg.data.cases import Cases
from jaxseg.data.normalize import Unit, ZScore, moments
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)


def test_unit_scales_integers_by_their_dtype_and_leaves_floats():
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        got = Unit()(np.array([[[0], [top]]], dtype), None)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got[0, :, 0], [0, 1])
    np.testing.assert_array_equal(Unit()(np.full((1, 1, 1), 3.5, np.float32), None), 3.5)
    np.testing.assert_array_equal(Unit()(np.full((1, 1, 1), -7, np.int16), None), -7)


@pytest.mark.parametrize("scale, offset", [(1, 0), (1e-4, 0), (1e4, 0), (1, 1e6)])
def test_zscore_gives_each_channel_mean_0_and_deviation_1(scale, offset):
    image = RNG.normal(5, 2, (40, 30, 2)) * scale + offset
    got = ZScore()(image, moments(image))
    np.testing.assert_allclose(got.mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(got.std((0, 1)), 1, atol=1e-5)


def test_moments_do_not_depend_on_the_slabs(monkeypatch):
    image = RNG.integers(0, 255, (40, 30, 3), dtype=np.uint8)
    whole = moments(image)
    monkeypatch.setattr("jaxseg.data.sampling.SLAB", 300)
    np.testing.assert_allclose(moments(image), whole, rtol=1e-12)
    np.testing.assert_allclose(whole[0], image.mean((0, 1)))
    np.testing.assert_allclose(whole[1], image.std((0, 1)))


def test_a_constant_channel_becomes_0():
    image = np.full((4, 4, 1), 9, np.uint8)
    np.testing.assert_array_equal(ZScore()(image, moments(image)), 0)


def folder(root, image, mask, name="a.tif"):
    """A validation split of one case."""
    for kind in ("images", "masks"):
        (root / "val" / kind).mkdir(parents=True)
        (root / "train" / kind).mkdir(parents=True)
    tifffile.imwrite(root / "val/images" / name, image)
    Image.fromarray(mask).save(root / "val/masks/a.png")
    return Data(Folder(3, channels=1), str(root))


def test_cases_are_whole_float32_images_and_int32_labels(tmp_path):
    image = RNG.integers(0, 65535, (6, 8), dtype=np.uint16)
    mask = np.array([[0, 1, 2, 255]] * 6, np.uint8).repeat(2, 1)
    cases = folder(tmp_path, image, mask).cases("validation")
    case = cases[0]
    assert len(cases) == 1 and set(case) == {"name", "image", "raw", "label"}
    np.testing.assert_array_equal(case["raw"][..., 0], image)
    assert case["image"].dtype == np.float32 and case["label"].dtype == np.int32
    np.testing.assert_allclose(case["image"][..., 0], image / 65535, rtol=1e-6)
    np.testing.assert_array_equal(case["label"], np.where(mask == 255, -1, mask.astype(int)))
    assert len(list(cases)) == 1


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_every_cache_gives_the_same_cases(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image = RNG.integers(0, 255, (300, 300), dtype=np.uint8)
    data = folder(tmp_path, image, (image % 3).astype(np.uint8))
    data = Data(data.dataset, data.root, normalize=ZScore(), cache=cache)
    for _ in range(2):
        cases = data.cases("validation")
        for _ in range(2):
            np.testing.assert_array_equal(cases[0]["label"], image % 3)
            assert abs(cases[0]["image"].mean()) < 1e-5
    assert (tmp_path / "cache").exists() == (cache == "disk")


def test_a_changed_file_is_decoded_again_by_the_disk_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = folder(tmp_path, np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8))
    data = Data(data.dataset, data.root, cache="disk")
    assert data.cases("validation")[0]["label"].max() == 0
    Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(tmp_path / "val/masks/a.png")
    assert data.cases("validation")[0]["label"].max() == 1


def test_a_mask_of_another_size_is_refused_with_both_files_and_sizes(tmp_path):
    data = folder(tmp_path, np.zeros((6, 8), np.uint8), np.zeros((6, 7), np.uint8))
    with pytest.raises(
        UserError, match=r"a\.png: the mask is 6 x 7 and its image .*a\.tif is 6 x 8"
    ):
        data.check("validation")


def test_labels_beyond_the_classes_are_refused_with_file_and_values(tmp_path):
    mask = np.array([[0, 7, 9]], np.uint8)
    data = folder(tmp_path, np.zeros((1, 3), np.uint8), mask)
    with pytest.raises(UserError, match=r"a\.png: label values 7, 9 with num_classes=3"):
        data.check("validation")


def test_nan_in_a_float_image_is_refused_by_name(tmp_path):
    image = np.zeros((6, 8), np.float32)
    image[0, 0] = np.nan
    data = folder(tmp_path, image, np.zeros((6, 8), np.uint8))
    with pytest.raises(UserError, match=r"a\.tif: 1 pixels are NaN"):
        data.check("validation")


def test_check_counts_good_cases(tmp_path):
    data = folder(tmp_path, np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8))
    assert data.check("validation") == 1


def volume(root, zooms=(2.5, 0.7, 1.0), unit="mm"):
    """A validation split of one NIfTI."""
    import nibabel

    for kind in ("images", "masks"):
        (root / "val" / kind).mkdir(parents=True)
        file = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([*zooms, 1.0]))
        file.header.set_xyzt_units(unit)
        nibabel.save(file, root / "val" / kind / "a.nii.gz")
    return Data(Folder(2, channels=1, rank=3), str(root))


@pytest.mark.parametrize("unit, factor", [("mm", 1), ("micron", 1e-3), ("unknown", 1)])
def test_the_header_of_a_nifti_gives_the_spacing_in_millimetres(tmp_path, unit, factor):
    case = volume(tmp_path, unit=unit).cases("validation")[0]
    assert case["spacing"] == pytest.approx((2.5 * factor, 0.7 * factor, factor))
    assert all(type(size) is float for size in case["spacing"])


def test_a_cache_on_disk_keeps_the_spacing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = dataclasses.replace(volume(tmp_path), cache="disk")
    assert data.cases("validation")[0]["spacing"] == (2.5, 0.7, 1.0)
    assert data.cases("validation")[0]["spacing"] == (2.5, 0.7, 1.0)  # this one is read back


def test_a_source_that_knows_its_spacing_is_believed(tmp_path):
    decoded = volume(tmp_path).cases("validation").decoded

    class Known(type(decoded.source)):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "spacing": (1.0, 2.0, 3.0)}

    cases = Cases(
        dataclasses.replace(decoded, source=Known(**vars(decoded.source)), cache=Nothing())
    )
    assert cases.decoded[0]["spacing"].tolist() == [1, 2, 3]


def test_images_without_a_header_have_no_spacing(tmp_path):
    image, mask = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    assert "spacing" not in folder(tmp_path, image, mask).cases("validation")[0]
