"""Scores of what a run was trained on are said to be that."""

import dataclasses
import logging

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import Folder
from jaxseg.data.intensities import Intensities
from jaxseg.errors import UserError
from jaxseg.evaluate import evaluate
from jaxseg.predict import predict
from jaxseg.workdir import INTENSITIES
from tests.made_run import draw, made_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Nine pictures with masks, and two runs on two folds of them."""
    place = tmp_path_factory.mktemp("seen")
    for name in ("images", "masks"):
        (place / "data" / name).mkdir(parents=True)
    for n in range(9):
        Image.fromarray(draw(16, 16, seed=n)).save(place / "data" / "images" / f"{n}.png")
        Image.fromarray(draw(16, 16, seed=n) % 2).save(place / "data" / "masks" / f"{n}.png")
    for fold in (0, 1):
        data = Folder(2, channels=1, fold=fold, folds=3)
        made_run(place / f"run{fold}", data, root=str(place / "data"), seed=fold)
    return place


def said(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "jaxseg"]


def test_an_ensemble_of_folds_scores_what_its_members_learnt(place, caplog):
    caplog.set_level(logging.WARNING, "jaxseg")
    evaluate(place / "run0")
    assert said(caplog) == []
    evaluate([place / "run0", place / "run1"])
    (line,) = said(caplog)
    assert f"3 of the 3 scored cases are among those that {place / 'run1'} was trained on" in line


def test_new_files_that_are_those_of_training_are_said(place, caplog):
    caplog.set_level(logging.WARNING, "jaxseg")
    files = {"images": place / "data" / "images", "masks": place / "data" / "masks"}
    evaluate(place / "run0", **files)
    (line,) = said(caplog)
    assert line.startswith("6 of the 9 scored cases are among those that")


def test_new_labels_on_images_of_another_scale_are_said(place, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "jaxseg")
    known = Intensities.of([draw(16, 16, 1, seed=n) / 255 for n in range(4)])
    known.write(place / "run0" / INTENSITIES)
    for name, image in (("images", draw(16, 16) // 20), ("masks", draw(16, 16) % 2)):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "a.png")
    try:
        evaluate(place / "run0", images=tmp_path / "images", masks=tmp_path / "masks")
    finally:
        (place / "run0" / INTENSITIES).unlink()
    (line,) = said(caplog)
    assert line.startswith("1 of 1 files are unlike the images that the run was trained on")


def test_other_scores_than_the_one_that_chose_the_checkpoint_can_be_asked_for(place):
    found = evaluate(place / "run0", overrides=["evaluation.metrics=('hd95',)"])
    assert "hd95" in found


def test_a_mask_without_an_image_is_refused(place):
    extra = place / "data" / "masks" / "typo.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(extra)
    try:
        with pytest.raises(UserError, match=r"masks/typo.png: no image .*images/typo\.\*"):
            Folder(2, channels=1).open(str(place / "data"), "train")
    finally:
        extra.unlink()


def test_channels_in_files_of_their_own_are_not_taken_for_grey_images(place, tmp_path):
    from jaxseg.data import NNUNet

    run = made_run(place / "nnunet", dataclasses.replace(NNUNet(2, channels=2), rank=2))
    for channel in (0, 1):
        Image.fromarray(draw(16, 16)).save(tmp_path / f"c0_000{channel}.png")
    with pytest.raises(UserError, match=r"c0_0000.png: one of 2 channels in files of their own"):
        predict(run, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
