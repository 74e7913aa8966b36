"""What lies beside the scores: a row a case in CSV and JSON, and the picture of the confusions."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from jaxseg.metrics import Confusion, Evaluated
from jaxseg.scorecard import confusion_figure, slug, write

pytestmark = pytest.mark.pictures

MATRICES = np.array([[[3, 1], [0, 4]], [[8, 0], [0, 0]]])
"""Of two cases; the second has no pixel of class 1."""

RECORDS = {
    "hd95": [np.array([[np.nan, 2.0], [0, 0]]), np.array([[np.nan, np.nan], [0, 0]])],
    "ece": [np.array([[10.0, 10], [6, 9], [5, 9]])] * 2,
}


def evaluated(names=("a", "b")) -> Evaluated:
    whole = Confusion(matrix=MATRICES.sum(0))
    return Evaluated(whole, ("dice", "hd95", "ece"), RECORDS, MATRICES, names=names)


def test_a_row_a_case_holds_its_own_scores(tmp_path):
    write(tmp_path / "deep" / "validation", evaluated(), ("back, ground", "cell"))
    with (tmp_path / "deep" / "validation" / "cases.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    single = ["case", "dice", "iou", "hd95", "ece"]
    classes = [f"{s}/{c}" for s in ("dice", "iou", "hd95") for c in ("back, ground", "cell")]
    assert list(first) == single + classes
    assert (first["case"], second["case"]) == ("a", "b")
    background, cell = 2 * 3 / (2 * 3 + 1), 2 * 4 / (2 * 4 + 1)
    assert float(first["dice/back, ground"]) == background and float(first["dice/cell"]) == cell
    assert float(first["dice"]) == (background + cell) / 2
    assert float(first["iou/cell"]) == 4 / 5 and float(first["hd95"]) == 2
    assert float(first["ece"]) == 1 / 20
    assert float(second["dice"]) == 1  # of the only class that it has
    assert second["dice/cell"] == second["hd95"] == second["hd95/cell"] == ""
    rows = json.loads((tmp_path / "deep" / "validation" / "cases.json").read_text())
    assert rows[0]["iou_per_class"] == {"back, ground": 3 / 4, "cell": 4 / 5}
    assert rows[1]["hd95"] is None and rows[1]["iou_per_class"]["cell"] is None


def test_classes_without_names_are_called_by_their_numbers(tmp_path):
    write(tmp_path, evaluated(), ())
    header = (tmp_path / "cases.csv").read_text().splitlines()[0]
    assert header == "case,dice,iou,hd95,ece,dice/0,dice/1,iou/0,iou/1,hd95/0,hd95/1"


def test_the_confusion_matrix_is_drawn_in_shares_of_the_labels(tmp_path):
    matrix = np.array([[30, 10, 0], [0, 0, 0], [1, 1, 8]])
    figure = confusion_figure(matrix, ("sky", "road", "car"))
    axis = figure.axes[0]
    shares = np.asarray(axis.images[0].get_array().filled(np.nan))
    expected = [[0.75, 0.25, 0], [np.nan] * 3, [0.1, 0.1, 0.8]]
    np.testing.assert_allclose(shares, expected)
    said = {text.get_position(): text.get_text() for text in axis.texts}
    assert said[(1, 0)] == "0.250\n10" and said[(2, 2)] == "0.800\n8" and len(said) == 6
    assert [t.get_text() for t in axis.get_yticklabels()] == ["sky", "road", "car"]
    assert axis.get_xlabel() == "prediction" and axis.get_ylabel() == "label"
    assert not confusion_figure(np.eye(40, dtype=int)).axes[0].texts
    write(tmp_path, evaluated(), None)
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.format == "PNG" and len(picture.convert("L").getcolors()) > 10


def test_a_key_names_one_folder():
    assert slug("validation") == "validation"
    keys = ["test tta", "test-tta", "a/b", "a b", "..", "é", "x" * 80, "x" * 81]
    made = {slug(key) for key in keys}
    assert len(made) == len(keys) and all(name == slug(name) or "-" in name for name in made)
    assert not any("/" in name or name.startswith(".") or len(name) > 70 for name in made)
