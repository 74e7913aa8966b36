import pytest

from jaxseg import disk
from jaxseg.errors import UserError


def test_a_file_is_replaced_only_when_all_went_well(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), disk.replacing(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with disk.replacing(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_failed_write_names_the_file(tmp_path):
    path = tmp_path / "nowhere" / "scores.json"
    with pytest.raises(UserError, match=r"nowhere/scores.json: could not be written"):
        with disk.replacing(path) as beside:
            beside.write_text("new")


def test_a_folder_that_cannot_be_is_named(tmp_path):
    disk.folder(tmp_path / "a" / "b")
    disk.folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        disk.folder(tmp_path / "file")
