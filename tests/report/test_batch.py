"""batch.png: what it shows of a batch, pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.report import batch as module
from jaxseg.report import class_colors, write_batch
from jaxseg.types import IGNORE, Batch


def batch_of(label, channels=1, image=None):
    image = np.zeros((*label.shape, channels), np.float32) if image is None else image
    return Batch(image=image, label=label, valid=np.ones(len(label), bool))


def quarters(rows, size=(256, 256)):
    """Label maps of which the left half is class 1 and the lower right quarter is ignored."""
    label = np.zeros((rows, *size), np.int32)
    label[:, :, : size[1] // 2] = 1
    label[:, size[0] // 2 :, size[1] // 2 :] = IGNORE
    return label


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_example_stands_above_itself_with_its_label(channels):
    found = module.picture_of(batch_of(quarters(1), channels), ("background", "nucleus"))
    assert (found[:256, :256] == 0).all()  # the image
    drawn = found[256:512]
    np.testing.assert_array_equal(drawn[10, 10], np.rint(0.45 * class_colors(2)[1]))
    assert (drawn[10, 200] == 0).all(), "class 0 is left as the image is"
    assert (drawn[200, 200] == round(0.45 * 128)).all(), "IGNORE is grey"


def test_the_middle_slice_of_a_volume_and_a_signal_are_shown():
    label = np.zeros((1, 5, 256, 256), np.int32)
    label[:, 2] = 1
    drawn = module.picture_of(batch_of(label), ())[256:512, :256]
    assert (drawn == np.rint(0.45 * class_colors(2)[1])).all()
    assert module.picture_of(batch_of(np.ones((2, 300), np.int32)), ()).shape[1] > 600


def test_small_examples_are_enlarged_and_large_ones_thinned():
    checker = np.indices((1, 64, 64)).sum(0).astype(np.float32)[..., None] % 2
    found = module.picture_of(batch_of(np.zeros((1, 64, 64), np.int32), image=checker), ())
    assert (found[:3, :3] == found[0, 0]).all() and (found[0, 0] != found[0, 3]).all()
    assert found.shape[1] == 192 + module.GAP
    large = module.picture_of(batch_of(np.zeros((1, 1030, 400), np.int32)), ())
    assert large[:, :, 0].shape[1] == 134 + module.GAP


def test_four_stand_beside_each_other_and_eight_are_shown():
    width = 4 * (256 + module.GAP)
    shapes = [module.picture_of(batch_of(quarters(rows)), ()).shape for rows in (3, 4, 5, 11)]
    assert [shape[1] for shape in shapes] == [width - 256 - module.GAP, width, width, width]
    assert shapes[1][0] < shapes[2][0] == shapes[3][0]


def test_the_file_is_the_picture_and_nothing_beside_it(tmp_path):
    batch = batch_of(quarters(2))
    write_batch(tmp_path / "batch.png", batch, ("a name", "b"))
    with Image.open(tmp_path / "batch.png") as picture:
        np.testing.assert_array_equal(picture, module.picture_of(batch, ("a name", "b")))
    assert [path.name for path in tmp_path.iterdir()] == ["batch.png"]
