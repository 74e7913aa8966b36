"""samples.png: predictions, and where they are wrong."""

import os

import numpy as np
import pytest
from PIL import Image

from jaxseg import report
from jaxseg.evaluator import Sample
from jaxseg.report import samples as module
from jaxseg.types import IGNORE

pytestmark = pytest.mark.pictures


@pytest.mark.parametrize("spatial", [(20, 16), (3, 20, 16)])
def test_samples_show_a_row_each_in_the_colors_of_the_classes(tmp_path, spatial):
    rng = np.random.default_rng(0)
    label = np.ones(spatial, np.int32)
    label[..., 0] = IGNORE
    image, prediction = rng.random((*spatial, 1), np.float32), np.full(spatial, 2, np.int32)
    samples = [Sample(image, label, prediction)] * 2
    path = tmp_path / "samples.png"
    report.write_samples(path, samples, ("background", "one", "two"))
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    found = {tuple(color) for color in np.unique(pixels, axis=0).tolist()}
    assert {tuple(color) for color in report.class_colors(3)[1:].tolist()} <= found
    assert os.listdir(tmp_path) == ["samples.png"]


def test_pixels_that_are_wrong_are_red_and_ignored_ones_never_are():
    image = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4, 1)
    label = np.array([[0, 1, IGNORE, 0], [0, 1, 2, 2]], np.int32)
    prediction = np.array([[0, 0, 1, 0], [0, 1, 2, 1]], np.int32)
    found = module.errors(image, label, prediction)
    red = (found == module.WRONG).all(-1)
    np.testing.assert_array_equal(red, [[0, 1, 0, 0], [0, 0, 0, 1]])
    assert (found[~red] <= 127).all(), "the image is dimmed"


@pytest.mark.parametrize("spatial", [(9,), (20, 16), (3, 20, 16)])
def test_names_of_any_kind_and_scores_are_drawn_at_any_rank(tmp_path, spatial):
    label = np.ones(spatial, np.int32)
    image = np.zeros((*spatial, 2), np.float32)
    named = [("a", None), ("slides/$x_1^{$/" + "long" * 30, 0.5), ("", float("nan"))]
    samples = [Sample(image, label, 0 * label, name, dice, True) for name, dice in named]
    report.write_samples(tmp_path / "samples.png", samples, ())
    with Image.open(tmp_path / "samples.png") as picture:
        assert (np.asarray(picture.convert("RGB")) == module.WRONG).all(-1).any()


def test_without_a_wrong_pixel_the_last_column_has_no_red():
    label = np.ones((4, 4), np.int32)
    found = module.errors(np.zeros((4, 4, 1), np.float32), label, label)
    assert not found.any()
