"""New labelled files, read as a run reads its own."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import Data, Folder, Region, Synthetic, Table
from jaxseg.data.labelled import labelled, reading_of
from jaxseg.errors import UserError
from jaxseg.types import IGNORE


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def cases(dataset, folder, **more):
    data = Data(labelled(dataset, folder / "images", folder / "masks", **more))
    return data.cases("whatever")


MASK = np.array([[0, 1, 2], [2, 1, 255]])


def test_all_files_are_cases_whatever_splits_the_run_has(tmp_path):
    for number in range(3):
        save(tmp_path / "images" / f"{number}.png", np.full((2, 3), 51))
        save(tmp_path / "masks" / f"{number}_mask.png", MASK)
    run = Folder(3, channels=1, mask_suffix="_mask", class_names=("a", "b", "c"))
    found = cases(run, tmp_path)
    assert [case["name"] for case in found] == ["0", "1", "2"]
    np.testing.assert_allclose(found[0]["image"], 0.2)
    np.testing.assert_array_equal(found[0]["label"], np.where(MASK == 255, IGNORE, MASK))
    assert found.decoded.reading.num_classes == 3
    dataset = labelled(run, tmp_path / "images", tmp_path / "masks")
    assert (dataset.class_names, dataset.channels, dataset.rank) == (("a", "b", "c"), 1, 2)
    save(tmp_path / "masks" / "more_mask.png", MASK)
    with pytest.raises(UserError, match=r"more_mask.png: no image .*images/more\.\*"):
        cases(run, tmp_path)


def test_masks_are_read_as_those_of_the_run(tmp_path):
    save(tmp_path / "images" / "a.png", np.zeros((2, 3)))
    numbers = np.array([[0, 3, 3], [0, 0, 7]])
    save(tmp_path / "masks" / "a.png", numbers)
    (case,) = cases(Folder(2, channels=1, instances=True), tmp_path)
    np.testing.assert_array_equal(case["label"], numbers > 0)
    np.testing.assert_array_equal(case["instance"], numbers)
    (case,) = cases(Folder(2, channels=1, values=(0, 3, 7)), tmp_path)
    np.testing.assert_array_equal(case["label"], [[0, 1, 1], [0, 0, IGNORE]])
    save(tmp_path / "masks" / "a.png", np.eye(3)[[[0, 1, 1], [0, 0, 2]]] * 255)
    colors = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    (case,) = cases(Folder(3, channels=1, colors=colors), tmp_path)
    np.testing.assert_array_equal(case["label"], [[0, 1, 1], [0, 0, 2]])


@pytest.mark.parametrize(
    "run",
    [
        Synthetic(),
        Folder(2, channels=1, instances=True),
        Folder(2, channels=1, values=(1, 2)),
        Folder(2, channels=1, colors=((0, 0, 0), (255, 0, 0))),
        Folder(2, channels=1, ignore=(7,)),
    ],
)
def test_values_that_are_given_replace_how_the_run_reads(tmp_path, run):
    save(tmp_path / "images" / "a.png", np.zeros((2, 3)))
    save(tmp_path / "masks" / "a.png", [[0, 7, 7], [0, 9, 0]])
    (case,) = cases(run, tmp_path, values=(0, 7, 9))
    np.testing.assert_array_equal(case["label"], [[0, 1, 1], [0, IGNORE, 0]])
    assert "instance" not in case
    with pytest.raises(UserError, match="--values 0: 1 numbers for 2 classes"):
        cases(run, tmp_path, values=(0,))


def test_the_folder_of_the_images_is_not_that_of_the_masks(tmp_path):
    save(tmp_path / "a.png", np.zeros((2, 3)))
    with pytest.raises(UserError, match="--masks .*: the folder of the images"):
        labelled(Synthetic(), tmp_path, f"{tmp_path}/")


def test_masks_are_read_as_a_table_or_the_data_of_a_region_read_theirs():
    for data in (Table(2, values=(1, 0)), Region(Folder(2, values=(1, 0), validation=0.0))):
        assert reading_of(data).values == (1, 0)
    assert reading_of(Synthetic()).values is None
