"""Which files of a folder are predicted, and where their label maps go."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import Synthetic
from jaxseg.errors import UserError
from jaxseg.inputs import admit, inputs
from jaxseg.predict import predict
from tests.made_run import draw, made_run


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(16, 16)).save(path)


def test_sub_folders_are_gone_through_and_made_again_in_the_output(tmp_path):
    run = made_run(tmp_path / "run", Synthetic())
    for name in ("a.png", "day1/a.png", "day1/deep/b.v2.png", ".hidden/c.png", "day1/.d.png"):
        save(tmp_path / "in" / name)
    (tmp_path / "in" / "day1" / "notes.txt").write_text("no image")
    paths = predict(run, tmp_path / "in", tmp_path / "out")
    made = ["a.png", "day1/a.png", "day1/deep/b.v2.png"]
    assert paths == [tmp_path / "out" / name for name in made]
    assert sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file()) == sorted(paths)


def test_older_output_below_the_input_is_no_input(tmp_path):
    for name in ("a.png", "out/a.png", "out/deep/a.png", "output/b.png"):
        save(tmp_path / name)
    names = [str(one.name) for one in inputs(tmp_path, tmp_path / "out")]
    assert names == ["a", "output/b"]
    found = inputs(tmp_path, tmp_path)  # here nothing tells images and output apart
    assert len(found) == 4
    with pytest.raises(UserError, match=r"a\.png is an input; name another folder"):
        admit(found, tmp_path, 2, [], numbered=False, overwrite=True)


def test_a_name_in_two_folders_is_two_names_and_in_one_folder_refused(tmp_path):
    for name in ("one/a.png", "two/a.png"):
        save(tmp_path / "in" / name)
    out = tmp_path / "out"
    admit(inputs(tmp_path / "in", out), out, 2, [], numbered=False, overwrite=False)
    np.save(tmp_path / "in" / "two" / "a.npy", draw(16, 16))
    with pytest.raises(UserError, match=r"two/a\.npy and .*two/a\.png would be written to the"):
        admit(inputs(tmp_path / "in", out), out, 2, [], numbered=False, overwrite=False)


def test_numbers_of_objects_never_take_the_name_of_a_label_map(tmp_path):
    for name in ("in/a.png", "in/a_instances.png"):
        save(tmp_path / name)
    found, out = inputs(tmp_path / "in", tmp_path / "out"), tmp_path / "out"
    admit(found, out, 2, [], numbered=False, overwrite=False)
    with pytest.raises(UserError, match="same name"):
        admit(found, out, 2, [], numbered=True, overwrite=False)
    save(out / "b_instances.png")
    save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b_instances\.png would be replaced"):
        admit(inputs(tmp_path / "b.png", out), out, 2, [], numbered=True, overwrite=False)
