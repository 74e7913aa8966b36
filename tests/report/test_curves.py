"""progress.png: which curve stands where."""

import pytest
from PIL import Image

from jaxseg.report import Report, curves

pytestmark = pytest.mark.pictures


def test_each_panel_of_the_progress_has_its_curves():
    line = {"step": 1, "loss": 2.0, "dice": 0.5, "gradient_norm": 9.0, "images_per_second": 3.0}
    line |= {"learning_rate": 0.1, "validation/dice": 0.4, "validation/hd95": 17.0}
    line |= {"validation/kappa": -0.1, "validation/hd95_cases_left_out": 2}
    line |= {"validation/dice/a/b": 0.3, "validation/dice/c": 0.5, "validation/hd95/c": 9.0}
    found = curves.panels([line, {"step": 2, "validation/dice": None}])
    assert found == {
        "loss": ["loss", "dice"],
        "validation scores": ["validation/dice", "validation/kappa"],
        "dice by class": ["validation/dice/a/b", "validation/dice/c"],
        "validation scores of other scales": ["validation/hd95"],
        "images a second": ["images_per_second"],
        "learning rate": ["learning_rate"],
    }


def test_the_best_step_is_the_first_of_the_highest_score():
    lines = [
        {"step": n, "validation/dice": v} for n, v in ((1, 0.2), (2, 0.7), (3, None), (4, 0.7))
    ]
    assert curves.best_step(lines, "dice") == 2
    assert curves.best_step(lines, "iou") is None and curves.best_step(lines, None) is None


def test_progress_is_drawn_with_gaps_where_scores_are_missing(tmp_path):
    with Report(
        tmp_path,
        total_steps=99,
    ) as run:
        for step in range(1, 80):
            run.scalars(step, {"loss": 1 / step, "images_per_second": 9.0, "learning_rate": 0.1})
        scores = {"dice": 0.9, "dice_per_class": {"background": 0.98, "nucleus": 0.82}}
        run.evaluation(40, scores)
        run.evaluation(80, {**scores, "dice": float("nan")})
    with Image.open(tmp_path / "progress.png") as picture:
        assert picture.size == (1650, 700)  # five panels, three beside each other
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100, "nothing is drawn"
