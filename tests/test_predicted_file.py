"""What is written of a file: values of one's own, numbers of objects, planes of a volume."""

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxseg.data import Folder, Synthetic
from jaxseg.data.images import read_mask
from jaxseg.errors import UserError
from jaxseg.objects import Instances, components
from jaxseg.predict import main, predict
from jaxseg.predicted_file import GAP, Wanted, planes, upright
from jaxseg.report import overlay
from tests.made_run import draw, made_run


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A run on grey images, whose masks hold 0 and 255."""
    dataset = Folder(2, channels=1, values=(0, 255))
    return made_run(tmp_path_factory.mktemp("grey") / "run", dataset)


# --- values


@pytest.mark.parametrize("values", ["own", (0, 255)])
def test_label_maps_hold_the_numbers_of_the_users_own_masks(grey, tmp_path, values):
    Image.fromarray(draw(20, 27)).save(tmp_path / "a.png")
    (classes,) = predict(grey, tmp_path / "a.png", tmp_path / "classes")
    (path,) = predict(grey, tmp_path / "a.png", tmp_path / "out", values=values, overlay=True)
    labels = read_mask(classes)
    assert set(np.unique(labels)) == {0, 1}
    np.testing.assert_array_equal(read_mask(path), 255 * labels)
    with Image.open(tmp_path / "out" / "a_overlay.png") as picture:  # of classes, not of values
        drawn = overlay(draw(20, 27)[..., None].astype(np.float32), labels.astype(np.int32))
        np.testing.assert_array_equal(np.asarray(picture), drawn)


@pytest.mark.parametrize(
    ("dataset", "values", "said"),
    [
        (Folder(2, channels=1), (0, 128, 255), "--values 0,128,255: 3 numbers for 2 classes"),
        (Folder(2, channels=1), (0, 70000), "--values 0,70000"),
        (Folder(2, colors=((0, 0, 0), (9, 9, 9))), "own", "masks hold colours"),
    ],
)
def test_values_that_cannot_be_written_are_refused_before_anything_is(
    tmp_path, dataset, values, said
):
    run = made_run(tmp_path / "run", dataset)
    Image.fromarray(draw(16, 16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=said):
        predict(run, tmp_path / "a.png", tmp_path / "out", values=values)
    assert not (tmp_path / "out").exists()


def test_values_of_a_run_on_class_numbers_are_the_class_numbers(tmp_path):
    run = made_run(tmp_path / "run", Synthetic())
    Image.fromarray(draw(16, 16)).save(tmp_path / "a.png")
    words = ["--workdir", run, "--input", tmp_path / "a.png", "--values", "own"]
    main([str(word) for word in (*words, "--output", tmp_path / "out")])
    assert set(np.unique(read_mask(tmp_path / "out" / "a.png"))) == {0, 1}


# --- objects


def test_objects_are_numbered_as_the_evaluation_of_the_run_tells_them_apart(tmp_path):
    parts = Instances(smallest=4)
    run = made_run(tmp_path / "run", Synthetic(), instances=parts)
    tifffile.imwrite(tmp_path / "a.tif", draw(3, 24, 24), photometric="minisblack")
    (path,) = predict(run, tmp_path / "a.tif", tmp_path / "out", instances=True)
    labels = read_mask(path, rank=3)
    numbers = read_mask(tmp_path / "out" / "a_instances.tif", rank=3)
    assert numbers.dtype == np.uint16 and numbers.max() > 1
    for label, found in zip(labels, numbers, strict=True):  # of each page from 1
        np.testing.assert_array_equal(found, components(label == 1, smallest=4))


def test_a_boundary_parts_objects_by_its_probability(tmp_path):
    dataset = Synthetic(boundary=True)
    parts = Instances(part_by="boundary", boundary=2, threshold=0.34)
    run = made_run(tmp_path / "run", dataset, instances=parts)
    Image.fromarray(draw(24, 24)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    (path,) = predict(run, tmp_path / "a.png", out, instances=True, probabilities=True)
    height = np.load(out / "a_probabilities.npy")[..., 2]
    label = read_mask(path).astype(np.int32)
    expected = parts.found(label, (1,), height)[1]
    assert (expected != parts.found(label, (1,))[1]).any()  # the probability matters
    np.testing.assert_array_equal(read_mask(out / "a_instances.png"), expected)
    assert not Wanted((0, 1), instances=Instances()).shares


def test_a_run_whose_classes_have_no_objects_has_none_to_number(tmp_path):
    run = made_run(tmp_path / "run", Synthetic(), instances=Instances(things=()))
    Image.fromarray(draw(16, 16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="--instances: no class of the run has objects"):
        predict(run, tmp_path / "a.png", tmp_path / "out", instances=True)


# --- planes


def test_the_planes_of_a_volume_meet_in_the_middle_of_what_is_predicted():
    image, label = draw(6, 8, 10).astype(np.float32)[..., None], np.zeros((6, 8, 10), np.int32)
    label[4, 1:4, 7] = 1
    found = planes(image, label)
    assert found.shape == (8, 10 + GAP + 10 + GAP + 8, 3)
    np.testing.assert_array_equal(found[:, :10], overlay(image[4], label[4]))
    coronal, sagittal = overlay(image[:, 2], label[:, 2]), overlay(image[:, :, 7], label[:, :, 7])
    np.testing.assert_array_equal(found[:6, 10 + GAP : 20 + GAP], coronal)
    np.testing.assert_array_equal(found[:6, 20 + 2 * GAP :], sagittal)
    assert not found[6:, 10:].any() and not found[:, 10 : 10 + GAP].any()
    nothing = planes(image, np.zeros_like(label))
    np.testing.assert_array_equal(nothing[:, :10], overlay(image[3], 0 * label[3]))


def test_planes_are_in_proportion_to_the_spacing():
    image, label = draw(3, 4, 6).astype(np.float32)[..., None], np.zeros((3, 4, 6), np.int32)
    axial, coronal = overlay(image[1], label[1]), overlay(image[:, 2], label[:, 2])
    found = planes(image, label, (3.0, 1.5, 1.5))
    assert found.shape == (6, 6 + GAP + 6 + GAP + 4, 3)
    np.testing.assert_array_equal(found[:4, :6], axial)
    np.testing.assert_array_equal(found[:, 6 + GAP : 12 + GAP], coronal.repeat(2, axis=0))


def test_a_nifti_is_shown_from_the_head_down_whatever_its_axes(tmp_path):
    """RAS voxels stored in other orders and directions give one picture."""
    volume, label = draw(5, 6, 7), draw(5, 6, 7, seed=1).astype(np.int32)
    affine = np.diag([1, 2, 4, 1])
    for number, codes in enumerate((("R", "A", "S"), ("L", "P", "S"), ("S", "L", "A"))):
        to = nibabel.orientations.axcodes2ornt(codes)
        stored = [nibabel.Nifti1Image(x, affine).as_reoriented(to) for x in (volume, label)]
        file = tmp_path / f"{number}.nii"
        nibabel.save(stored[0], file)
        image, numbers = (np.asanyarray(one.dataobj) for one in stored)
        shown = upright(image[..., None], numbers, file)
        np.testing.assert_array_equal(shown.image[..., 0], volume.transpose(2, 1, 0)[::-1, ::-1])
        np.testing.assert_array_equal(shown.label, label.transpose(2, 1, 0)[::-1, ::-1])
        assert shown.spacing == (4, 2, 1)


def test_a_network_of_images_shows_the_volume_that_a_nifti_is(tmp_path):
    run = made_run(tmp_path / "run", Synthetic())
    file = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(draw(16, 17, 3), np.eye(4)), file)
    predict(run, file, tmp_path / "out", overlay=True)
    with Image.open(tmp_path / "out" / "a_overlay.png") as picture:
        assert picture.size == (16 + GAP + 16 + GAP + 17, 17)
