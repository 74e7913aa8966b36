"""Prediction of files: what is read, what is written, what is refused."""

import errno
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxseg import checkpoint, command, digests, disk, inference, record
from jaxseg.data import Folder, Synthetic, ZScore
from jaxseg.data.images import read_mask
from jaxseg.data.intensities import Intensities
from jaxseg.errors import UserError
from jaxseg.predict import main, predict
from jaxseg.predicted_file import GAP
from jaxseg.workdir import EXPERIMENT, INTENSITIES
from tests.made_run import draw, made_run


@pytest.fixture(scope="module")
def color(tmp_path_factory):
    """A run on colour images, three classes."""
    return made_run(tmp_path_factory.mktemp("color") / "run", Folder(num_classes=3))


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A run on grey images, z-scored, two classes."""
    return made_run(tmp_path_factory.mktemp("grey") / "run", Synthetic(), normalize=ZScore())


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A run on volumes, two classes."""
    dataset = Synthetic(size=(16, 16, 16))
    return made_run(tmp_path_factory.mktemp("volume") / "run", dataset, window=(8, 8, 8))


def expected(workdir, image, tta=False):
    """The label map of an image that is already normalised, with channels."""
    model, variables = checkpoint.load(workdir)
    window = record.read_json(workdir / EXPERIMENT).evaluation.window
    labels = inference.segment(model, variables, np.asarray(image, np.float32), window, tta=tta)
    assert len(np.unique(labels)) > 1  # else any network would do
    return labels


def standardized(image):
    axes = tuple(range(image.ndim - 1))
    return (image - image.mean(axes, keepdims=True)) / image.std(axes, keepdims=True)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# --- formats


def test_a_color_image_becomes_an_8_bit_png_of_its_stem(color, tmp_path):
    image = draw(20, 27, 3)
    Image.fromarray(image).save(tmp_path / "cat.v1.png")
    paths = predict(color, tmp_path / "cat.v1.png", tmp_path / "out")
    assert paths == [tmp_path / "out" / "cat.v1.png"] and names(tmp_path / "out") == ["cat.v1.png"]
    with Image.open(paths[0]) as written:
        assert written.mode == "L"
        np.testing.assert_array_equal(np.asarray(written), expected(color, image / 255))


def test_a_folder_of_many_formats_is_predicted_in_the_order_of_names(color, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    image = draw(18, 20, 3)
    Image.fromarray(image).save(folder / "a.jpg")
    Image.fromarray(image).save(folder / "b.bmp")
    tifffile.imwrite(folder / "c.tif", image, photometric="rgb")
    np.save(folder / "d.npy", image)
    (folder / "notes.txt").write_text("no image")
    paths = predict(color, folder, tmp_path / "out")
    assert [p.name for p in paths] == ["a.png", "b.png", "c.png", "d.png"]
    lossless = [read_mask(p) for p in paths[1:]]
    for labels in lossless:
        np.testing.assert_array_equal(labels, expected(color, image / 255))


def test_16_bit_images_are_read_at_their_full_scale(color, tmp_path):
    image = draw(20, 20, 3, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb")
    (path,) = predict(color, tmp_path / "a.tif", tmp_path / "out")
    np.testing.assert_array_equal(read_mask(path), expected(color, image / 65535))


def test_a_stack_is_predicted_page_by_page_each_normalised_alone(grey, tmp_path):
    pages = [draw(18, 20) // 4 + 40 * i for i in range(3)]
    tifffile.imwrite(tmp_path / "a.tif", np.stack(pages), photometric="minisblack")
    (path,) = predict(grey, tmp_path / "a.tif", tmp_path / "out")
    assert path.name == "a.tif"
    written = read_mask(path, rank=3)
    assert written.dtype == np.uint8 and tifffile.imread(path).shape == (3, 18, 20)
    for labels, page in zip(written, pages, strict=True):
        np.testing.assert_array_equal(labels, expected(grey, standardized(page[..., None])))


def test_a_volume_becomes_a_multi_page_tiff(volume, tmp_path):
    image = draw(9, 12, 14)
    tifffile.imwrite(tmp_path / "a.tiff", image, photometric="minisblack")
    (path,) = predict(volume, tmp_path / "a.tiff", tmp_path / "out")
    assert path.name == "a.tif"
    with tifffile.TiffFile(path) as written:
        assert len(written.pages) == 9
        labels = expected(volume, image[..., None] / 255)
        np.testing.assert_array_equal(written.asarray(), labels)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_volume_keeps_its_affine_and_spacing(volume, tmp_path, suffix):
    image = draw(9, 12, 14, dtype=np.float32)
    affine = np.array([[0, -2, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    source = nibabel.Nifti1Image(image, affine)
    source.header.set_xyzt_units("mm", "sec")
    nibabel.save(source, tmp_path / f"a{suffix}")
    (path,) = predict(volume, tmp_path / f"a{suffix}", tmp_path / "out")
    assert path.name == f"a{suffix}"
    written = nibabel.load(path)
    np.testing.assert_allclose(written.affine, affine)
    assert written.header.get_zooms() == source.header.get_zooms()
    assert written.header.get_xyzt_units() == ("mm", "sec")
    assert written.get_data_dtype() == np.uint8
    labels = expected(volume, image[..., None])
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), labels)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_network_of_images_goes_through_a_nifti_slice_by_slice(grey, tmp_path, depth):
    image = draw(18, 20, depth, dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), tmp_path / "a.nii.gz")
    (path,) = predict(grey, tmp_path / "a.nii.gz", tmp_path / "out")
    written = np.asanyarray(nibabel.load(path).dataobj)
    assert written.shape == image.shape
    for z in range(depth):
        labels = expected(grey, standardized(image[..., z, None]))
        np.testing.assert_array_equal(written[..., z], labels)


def test_more_classes_than_a_byte_holds_become_16_bit(tmp_path):
    run = made_run(tmp_path / "run", Folder(num_classes=300))
    image = draw(16, 16, 3)
    Image.fromarray(image).save(tmp_path / "a.png")
    (path,) = predict(run, tmp_path / "a.png", tmp_path / "out")
    written = read_mask(path)
    assert written.dtype == np.uint16 and written.max() > 255
    np.testing.assert_array_equal(written, expected(run, image / 255))


def test_channels_are_fitted_to_the_network(color, grey, tmp_path):
    plain, colored = draw(18, 20), draw(18, 20, 3)
    Image.fromarray(plain).save(tmp_path / "plain.png")
    Image.fromarray(colored).save(tmp_path / "colored.png")
    (path,) = predict(color, tmp_path / "plain.png", tmp_path / "out")
    repeated = np.repeat(plain[..., None], 3, axis=-1) / 255
    np.testing.assert_array_equal(read_mask(path), expected(color, repeated))
    (path,) = predict(grey, tmp_path / "colored.png", tmp_path / "out")
    luma = np.rint(colored @ np.array([0.299, 0.587, 0.114]))[..., None]
    assert np.mean(read_mask(path) == expected(grey, standardized(luma))) > 0.99  # ties of rint


# --- what can be asked for


def test_probabilities_sum_to_one_and_their_argmax_is_the_label_map(color, tmp_path):
    Image.fromarray(draw(20, 27, 3)).save(tmp_path / "a.png")
    (path,) = predict(color, tmp_path / "a.png", tmp_path / "out", probabilities=True)
    (alone,) = predict(color, tmp_path / "a.png", tmp_path / "alone")
    shares = np.load(tmp_path / "out" / "a_probabilities.npy")
    assert shares.shape == (20, 27, 3) and shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(shares.argmax(-1), read_mask(path))
    np.testing.assert_array_equal(read_mask(path), read_mask(alone))


@pytest.mark.parametrize("kind", ["image", "stack", "nifti"])
def test_an_overlay_has_the_size_of_a_slice(grey, volume, tmp_path, kind):
    if kind == "nifti":
        file, run = tmp_path / "a.nii", volume
        nibabel.save(nibabel.Nifti1Image(draw(9, 12, 14, dtype=np.float32), np.eye(4)), file)
    else:
        file, run = tmp_path / "a.tif", grey
        shape = (9, 12) if kind == "image" else (5, 9, 12)
        tifffile.imwrite(file, draw(*shape), photometric="minisblack")
    predict(run, file, tmp_path / "out", overlay=True, probabilities=True)
    with Image.open(tmp_path / "out" / "a_overlay.png") as picture:
        of_planes = (9 + GAP + 9 + GAP + 12, 14)  # x by y, x by z, y by z
        assert picture.size == (of_planes if kind == "nifti" else (12, 9)) and picture.mode == "RGB"
    axes = {"image": (9, 12), "stack": (5, 9, 12), "nifti": (9, 12, 14)}[kind]
    assert np.load(tmp_path / "out" / "a_probabilities.npy").shape == (*axes, 2)


def test_flips_are_averaged_when_asked_for_or_when_the_run_does(color, tmp_path):
    run = made_run(tmp_path / "run", Folder(num_classes=3), tta=True)
    image = draw(20, 27, 3)
    Image.fromarray(image).save(tmp_path / "a.png")
    flipped = expected(color, image / 255, tta=True)
    assert (flipped != expected(color, image / 255)).any()
    (asked,) = predict(color, tmp_path / "a.png", tmp_path / "asked", tta=True)
    (stored,) = predict(run, tmp_path / "a.png", tmp_path / "stored")
    np.testing.assert_array_equal(read_mask(asked), flipped)
    np.testing.assert_array_equal(read_mask(stored), flipped)


# --- what is refused


def test_inputs_of_one_stem_are_refused_before_anything_is_written(grey, tmp_path):
    for name in ("a.png", "a.bmp", "b.png"):
        Image.fromarray(draw(8, 8)).save(tmp_path / name)
    with pytest.raises(UserError, match=r"a\.bmp and .*a\.png"):
        predict(grey, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_overlay_never_takes_the_name_of_a_label_map(grey, tmp_path):
    for name in ("a.png", "a_overlay.png"):
        Image.fromarray(draw(16, 16)).save(tmp_path / name)
    with pytest.raises(UserError, match="same name"):
        predict(grey, tmp_path, tmp_path / "out", overlay=True)
    assert len(predict(grey, tmp_path, tmp_path / "out")) == 2


def test_older_output_is_replaced_only_when_told_to(grey, tmp_path):
    Image.fromarray(draw(16, 16)).save(tmp_path / "a.png")
    (path,) = predict(grey, tmp_path / "a.png", tmp_path / "out")
    path.write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        predict(grey, tmp_path / "a.png", tmp_path / "out")
    assert path.read_text() == "mine"
    predict(grey, tmp_path / "a.png", tmp_path / "out", overwrite=True)
    assert read_mask(path).shape == (16, 16)


def test_an_input_is_never_replaced(grey, tmp_path):
    Image.fromarray(draw(16, 16)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(UserError, match="is an input"):
        predict(grey, tmp_path / "a.png", tmp_path, overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_full_disk_leaves_the_older_file_and_nothing_else(grey, tmp_path, monkeypatch):
    Image.fromarray(draw(16, 16)).save(tmp_path / "a.png")
    (path,) = predict(grey, tmp_path / "a.png", tmp_path / "out")
    before = path.read_bytes()

    def full(_picture, path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"a\.png: could not be written \(No space left"):
        predict(grey, tmp_path / "a.png", tmp_path / "out", overwrite=True)
    assert path.read_bytes() == before and names(tmp_path / "out") == ["a.png"]


SPOILT = {
    "truncated.png": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "text.png": lambda path: path.write_text("no image"),
    "nan.npy": lambda path: np.save(path, np.full((16, 16), np.nan, np.float32)),
    "five.npy": lambda path: np.save(path, draw(16, 16, 5)),
    "volume.npy": lambda path: np.save(path, draw(2, 16, 16, 1)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_bad_file_keeps_no_other_from_its_label_map_and_is_named_at_the_end(
    color, tmp_path, capsys, name
):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(draw(16, 16, 3)).save(folder / "a.png")
    Image.fromarray(draw(16, 16, 3)).save(folder / "zebra.png")
    if name.endswith(".png"):
        Image.fromarray(draw(16, 16, 3)).save(folder / name)
    SPOILT[name](folder / name)
    with pytest.raises(SystemExit) as ended:
        words = ["--workdir", color, "--input", folder, "--output", tmp_path / "out"]
        command.run(main, [str(word) for word in words])
    said = capsys.readouterr()
    assert ended.value.code == 1 and said.out.startswith("2 label maps of 2 images")
    header, line = said.err.splitlines()
    assert header == "jaxseg: 1 of 3 files failed:" and line.startswith(f"{folder / name}: ")
    assert names(tmp_path / "out") == ["a.png", "zebra.png"]


def test_all_files_that_failed_are_one_error_in_python_and_a_file_alone_is_bad_input(
    color, tmp_path, capsys
):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(draw(16, 16, 3)).save(folder / "b.png")
    for name in ("a.png", "c.png"):
        (folder / name).write_text("no image")
    with pytest.raises(UserError, match=r"2 of 3 files failed: .*a\.png: .*; .*c\.png: "):
        predict(color, folder, tmp_path / "out")
    assert names(tmp_path / "out") == ["b.png"]
    with pytest.raises(SystemExit) as ended:
        words = ["--workdir", color, "--input", folder / "a.png", "--output", tmp_path / "out"]
        command.run(main, [str(word) for word in words])
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("jaxseg: error: ")


def test_what_is_absent_or_no_image_is_named(color, tmp_path):
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "empty").mkdir()
    for path in ("nothing.png", "a.txt", "empty"):
        with pytest.raises(UserError, match=path):
            predict(color, tmp_path / path, tmp_path / "out")
    with pytest.raises(UserError, match=r"experiment\.json"):
        predict(tmp_path / "empty", tmp_path / "a.txt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the command


def test_the_command_says_how_many_were_written_where(grey, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(draw(16, 16)).save(folder / "a.png")
    tifffile.imwrite(folder / "b.tif", draw(3, 16, 16), photometric="minisblack")
    words = ["--workdir", grey, "--input", folder, "--output", tmp_path / "out", "--overlay"]
    main([str(word) for word in words])
    printed = capsys.readouterr()
    assert printed.out.startswith(f"2 label maps of 4 images in {tmp_path / 'out'}, ")
    assert printed.out.count("\n") == 1 and "images/s" in printed.out and not printed.err
    assert names(tmp_path / "out") == ["a.png", "a_overlay.png", "b.tif", "b_overlay.png"]


def test_prediction_does_not_import_the_training_loop():
    code = "import sys, jaxseg.predict; assert 'jaxseg.train' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.nii.gz"
    with disk.replacing(path) as beside:
        beside.write_text("first")
        assert beside.name.endswith(".nii.gz") and not path.exists()
    with pytest.raises(ZeroDivisionError), disk.replacing(path) as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "first" and names(tmp_path) == ["a.nii.gz"]


# --- images that are not like those of training


def test_images_far_from_those_of_training_are_said_in_one_line(color, tmp_path, caplog):
    folder = tmp_path / "in"
    folder.mkdir()
    known = Intensities.of([draw(20, 24, 3, seed=n) / 255 for n in range(4)])
    known.write(color / INTENSITIES)
    try:
        for name, image in (("like.png", draw(20, 24, 3)), ("dim.png", draw(20, 24, 3) // 9)):
            Image.fromarray(image).save(folder / name)
        tifffile.imwrite(folder / "scaled.tif", draw(20, 24, 3).astype("f4"), photometric="rgb")
        predict(color, folder, tmp_path / "out")
        (line,) = [record.getMessage() for record in caplog.records]
        assert "2 of 3 files are unlike the images that the run was trained on" in line
        assert "dim.png, " in line and "scaled.tif; in the first, channel 0 has mean 0.05" in line
        caplog.clear()
        predict(color, folder / "like.png", tmp_path / "again")
        assert not caplog.records
    finally:
        (color / INTENSITIES).unlink()


def test_a_damaged_checkpoint_is_used_only_where_that_is_said(color, tmp_path):
    Image.fromarray(draw(20, 24, 3)).save(tmp_path / "a.png")
    (path,) = (color / "checkpoints").glob(f"*/{digests.FILE}")
    kept = path.read_text()
    path.write_text('{"files": {}, "arrays": {}}')
    words = ["--workdir", color, "--input", tmp_path / "a.png", "--output", tmp_path / "out"]
    try:
        with pytest.raises(UserError, match=r"is not what was saved.*there is no other checkpoint"):
            main([str(word) for word in words])
        main([str(word) for word in (*words, "--unverified")])
    finally:
        path.write_text(kept)
    assert (tmp_path / "out" / "a.png").is_file()
