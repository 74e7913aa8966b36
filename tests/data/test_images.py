import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxseg.data.images import list_images, pages, read_image, read_mask, read_spacing, stem, suffix
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
RGB = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (7, 9), dtype=np.uint16)


def test_an_8_bit_and_a_16_bit_png_keep_dtype_and_values(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(DEEP).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], GREY)
    deep = read_image(tmp_path / "b.png")
    assert deep.dtype == np.uint16
    np.testing.assert_array_equal(deep[..., 0], DEEP)


def test_alpha_is_dropped_from_colour_and_grey(tmp_path):
    rgba = np.concatenate([RGB, np.full((7, 9, 1), 3, np.uint8)], -1)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    Image.fromarray(np.stack([GREY, GREY // 2], -1), mode=None).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "la.png")[..., 0], GREY)
    tifffile.imwrite(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.tif"), RGB)


def palette(path, indices):
    image = Image.fromarray(indices, mode=None).convert("P")
    image.putdata(indices.reshape(-1).tolist())
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    image.save(path)


def test_a_palette_image_is_colours_as_an_image_and_indices_as_a_mask(tmp_path):
    indices = RNG.integers(0, 3, (7, 9), dtype=np.uint8)
    palette(tmp_path / "p.png", indices)
    np.testing.assert_array_equal(read_mask(tmp_path / "p.png"), indices)
    table = np.array([[10, 20, 30], [200, 100, 50], [1, 2, 3]], np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), table[indices])


def test_a_one_bit_mask_is_0_and_1(tmp_path):
    Image.fromarray(GREY > 100).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), GREY > 100)


def test_grey_is_repeated_to_three_channels_and_colour_becomes_luma_at_one(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "g.png")
    Image.fromarray(RGB).save(tmp_path / "c.png")
    three = read_image(tmp_path / "g.png", channels=3)
    np.testing.assert_array_equal(three, np.repeat(GREY[..., None], 3, -1))
    luma = read_image(tmp_path / "c.png", channels=1)
    assert luma.dtype == np.uint8
    expected = np.asarray(Image.fromarray(RGB).convert("L"), np.float32)
    assert np.abs(luma[..., 0] - expected).max() <= 1
    with pytest.raises(UserError, match="c.png.*channels=2"):
        read_image(tmp_path / "c.png", channels=2)


def test_a_jpeg_is_three_channels(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == (7, 9, 3)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_multi_page_tiff_is_a_volume_at_rank_3_and_slices_at_rank_2(tmp_path, compression):
    stack = RNG.integers(0, 65536, (4, 7, 9), dtype=np.uint16)
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, stack, photometric="minisblack", compression=compression)
    assert (pages(path), pages(path, rank=3)) == (4, None)
    np.testing.assert_array_equal(read_image(path, rank=3)[..., 0], stack)
    np.testing.assert_array_equal(read_image(path, page=2)[..., 0], stack[2])
    np.testing.assert_array_equal(read_mask(path, page=3), stack[3])
    with pytest.raises(UserError, match="stack of 4 slices"):
        read_image(path)


def test_a_stack_of_colour_pages_keeps_its_colours(tmp_path):
    stack = RNG.integers(0, 256, (3, 7, 9, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="rgb")
    assert pages(tmp_path / "s.tif") == 3
    np.testing.assert_array_equal(read_image(tmp_path / "s.tif", page=1), stack[1])
    np.testing.assert_array_equal(read_image(tmp_path / "s.tif", rank=3), stack)


def test_planar_channels_and_imagej_hyperstacks_end_up_channels_last(tmp_path):
    stack = RNG.integers(0, 65536, (2, 3, 7, 9), dtype=np.uint16)  # z c y x
    tifffile.imwrite(tmp_path / "h.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "h.tif", rank=3), np.moveaxis(stack, 1, -1))
    assert pages(tmp_path / "h.tif") == 2
    np.testing.assert_array_equal(
        read_image(tmp_path / "h.tif", page=1), np.moveaxis(stack[1], 0, -1)
    )


def test_an_lzw_tiff_of_another_program_is_read(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "one.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(tmp_path / "one.tif")[..., 0], GREY)
    frames[0].save(
        tmp_path / "two.tif", compression="tiff_lzw", save_all=True, append_images=frames[1:]
    )
    np.testing.assert_array_equal(read_image(tmp_path / "two.tif", page=1)[..., 0], 255 - GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "two.tif", rank=3)[0, ..., 0], GREY)


def test_nifti_volumes_are_read_scaled_and_with_channels_last(tmp_path):
    import nibabel

    volume = RNG.integers(-100, 100, (4, 5, 6)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "v.nii.gz")
    image = read_image(tmp_path / "v.nii.gz", rank=3)
    assert image.dtype == np.int16
    np.testing.assert_array_equal(image[..., 0], volume)
    scaled = nibabel.Nifti1Image(volume, np.eye(4))
    scaled.header.set_slope_inter(2, 1)
    nibabel.save(scaled, tmp_path / "s.nii")
    image = read_image(tmp_path / "s.nii", rank=3)
    assert image.dtype == np.float32


def test_an_npy_image_stays_on_disk(tmp_path):
    np.save(tmp_path / "a.npy", RGB)
    image = read_image(tmp_path / "a.npy")
    assert isinstance(image, np.memmap)
    np.testing.assert_array_equal(image, RGB)
    np.save(tmp_path / "g.npy", GREY)
    repeated = read_image(tmp_path / "g.npy", channels=3)
    assert isinstance(repeated, np.memmap) and repeated.shape == (7, 9, 3)


def test_the_spacing_is_that_of_the_headers_first_axes(tmp_path):
    import nibabel

    path = tmp_path / "v.nii.gz"
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.diag([3.0, 2, 0.5, 1])), path
    )
    assert read_spacing(path, rank=3) == (3.0, 2.0, 0.5)
    assert read_spacing(path, rank=2) == (3.0, 2.0)
    assert read_spacing(path, rank=4) is None  # the file has three axes
    assert read_spacing(tmp_path / "a.png", rank=2) is None


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "z.tif", "a.npy", "a.nii.gz"])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, name, damage):
    path = tmp_path / name
    big = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    if name == "a.npy":
        np.save(path, big)
    elif name == "a.nii.gz":
        import nibabel

        nibabel.save(nibabel.Nifti1Image(big[..., None], np.eye(4)), path)
    elif name == "z.tif":
        tifffile.imwrite(path, big, compression="deflate")
    elif name == "a.tif":
        tifffile.imwrite(path, big)
    else:
        Image.fromarray(big).save(path)
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) * 2 // 3], "text": b"no", "empty": b""}[damage]
    )
    rank = 3 if name == "a.nii.gz" else 2
    with pytest.raises(UserError) as caught:
        read_image(path, rank=rank)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_float_image_with_nan_or_infinity_is_refused_by_name(tmp_path, value):
    image = GREY.astype(np.float32)
    tifffile.imwrite(tmp_path / "good.tif", image)
    np.testing.assert_array_equal(read_image(tmp_path / "good.tif")[..., 0], image)
    image[2, 3] = value
    tifffile.imwrite(tmp_path / "bad.tif", image)
    with pytest.raises(UserError, match="bad.tif: 1 pixels are NaN or infinite"):
        read_image(tmp_path / "bad.tif")


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="none.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(UserError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        list_images(tmp_path / "nowhere")


def test_images_are_listed_by_name_without_hidden_and_other_files(tmp_path):
    for name in ("b.PNG", "a.nii.gz", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.nii.gz", "b.PNG"]
    assert (stem("x/a.b.nii.gz"), suffix("A.TIF"), stem("A.v2.TIF")) == ("a.b", ".tif", "A.v2")


def test_an_image_above_pillows_own_limit_is_read(tmp_path):
    wide = Image.new("1", (20000, 10000))  # 200 million pixels, 25 MB
    wide.save(tmp_path / "wide.png")
    assert read_mask(tmp_path / "wide.png").shape == (10000, 20000)
