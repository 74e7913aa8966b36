"""What a run writes and prints: files that survive a crash, pictures, lines, the bar."""

import io
import json
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jaxseg import disk, report
from jaxseg.errors import UserError
from jaxseg.report import Report, figures, log, records
from jaxseg.types import IGNORE

pytestmark = pytest.mark.pictures

NAN = float("nan")
SCORES = {
    "dice": 0.91234,
    "dice_per_class": {"background": 0.98, "nucleus": 0.84468},
    "iou": 0.84,
    "iou_per_class": {"background": 0.96, "nucleus": NAN},
    "accuracy": 0.97,
}


def console(terminal=False):
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=120, soft_wrap=True, legacy_windows=False
    )


def said(console):
    return console.file.getvalue()


def events(folder):
    """Scalars of all event files of a folder: `{(tag, step): value}`."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.glob("events.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


# --- JSON


def test_json_is_strict_and_arrays_become_lists(tmp_path):
    path = tmp_path / "a.json"
    value = {
        "nan": NAN, "inf": [float("inf")], "array": np.asarray([1.5, NAN]), "int": np.int64(3),
        "device": jnp.asarray([1, 2]), "bool": np.True_, "tuple": (1, "x"), "path": tmp_path, 1: 2,
    }  # fmt: skip
    disk.write_json(path, value)
    read = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert read == {
        "nan": None, "inf": [None], "array": [1.5, None], "int": 3, "device": [1, 2], "bool": True,
        "tuple": [1, "x"], "path": str(tmp_path), "1": 2,
    }  # fmt: skip


def test_a_json_file_that_cannot_be_written_keeps_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    disk.write_json(path, {"a": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="a.json"):
        disk.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_environment_names_device_and_versions():
    found = report.environment()
    assert found["device"] == "8 x cpu"
    assert {"jax", "flax", "jaxseg", "python"} <= set(found["versions"])


# --- metrics.jsonl and TensorBoard


def test_scalars_reach_the_files_with_nan_as_null(tmp_path):
    with Report(tmp_path, total_steps=2, console=console()) as run:
        run.scalars(1, {"loss": np.float32(0.5), "score": NAN})
        first = (tmp_path / "metrics.jsonl").read_text()
        assert json.loads(first) == {"step": 1, "loss": 0.5, "score": None}  # at once
        run.scalars(2, {"loss": 0.25})
    assert events(tmp_path) == {("loss", 1): 0.5, ("loss", 2): 0.25}
    assert (tmp_path / "progress.png").is_file()


def test_resume_drops_later_lines_and_a_torn_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Report(tmp_path, total_steps=9, console=console()) as run:
        for step in (1, 2, 3, 4):
            run.scalars(step, {"loss": float(step)})
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    with Report(tmp_path, total_steps=9, resume_step=2, console=console()) as run:
        run.scalars(3, {"loss": 30.0})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_lines_survive_a_process_that_is_killed(tmp_path):
    code = (
        "import os, sys; from jaxseg.report import Report\n"
        "run = Report(sys.argv[1], total_steps=5)\n"
        "run.scalars(1, {'loss': 1.0}); run.scalars(2, {'loss': 2.0}); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert done.returncode == 9
    assert [line["step"] for line in report.read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]


def test_what_is_not_a_line_of_metrics_is_passed_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2}\n[1]\n{"loss": 1}\n\xff\xfe\n\n{"step": 2')
    assert report.read_metrics(path) == [{"step": 1, "loss": 2}]
    assert report.read_metrics(tmp_path / "absent.jsonl") == []


def test_a_full_disk_is_one_clear_line(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    metrics = records.Metrics(tmp_path / "metrics.jsonl", 0)
    metrics.close()
    metrics._file = open("/dev/full", "w", buffering=1)  # noqa: SIM115
    with pytest.raises(UserError, match="metrics.jsonl: could not be written"):
        metrics.write(1, {"loss": 1.0})
    with pytest.raises(OSError, match="space"):
        metrics.close()


def test_a_disabled_report_does_nothing(tmp_path):
    with Report(tmp_path / "run", total_steps=2, enabled=False) as run:
        run.scalars(1, {"loss": 1.0})
        run.progress(1, 1.0)
        run.evaluation(1, SCORES)
        run.message("hello")
        run.finish({"step": 1, "seconds": 1.0})
    assert not (tmp_path / "run").exists()


def test_an_error_of_the_run_is_not_hidden_by_one_of_closing(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("drawing")

    monkeypatch.setattr(log, "write_progress", broken)
    with pytest.raises(ValueError, match="training"):
        with Report(tmp_path, total_steps=2, console=console()):
            raise ValueError("training")
    with pytest.raises(RuntimeError, match="drawing"):
        with Report(tmp_path, total_steps=2, console=console()):
            pass


# --- the terminal


def test_an_evaluation_is_one_line_and_all_scores_are_kept(tmp_path):
    out = console()
    with Report(tmp_path, total_steps=9, console=out) as run:
        run.evaluation(5, SCORES, ("background", "nucleus"), ("dice", "iou"))
    assert said(out) == "step 5: dice 0.912 iou 0.840 | background 0.980 nucleus 0.845\n"
    (line,) = report.read_metrics(tmp_path / "metrics.jsonl")
    assert line["validation/dice"] == 0.91234 and line["validation/accuracy"] == 0.97
    assert line["validation/iou/background"] == 0.96 and line["validation/iou/nucleus"] is None


def test_an_absent_class_shows_a_dash_and_many_classes_only_the_lowest():
    scores = {"dice": NAN, "dice_per_class": [NAN, 0.5]}
    assert (
        report.score_line(scores, ("dice",), ("a", "b"))
        == "dice - (means of 1 of 2 classes) | a - b 0.500"
    )
    many = {"dice": 0.5, "dice_per_class": {f"c{n}": n / 100 for n in range(40, 0, -1)}}
    assert report.score_line(many, ("dice",)).endswith("lowest dice c1 0.010 c2 0.020 c3 0.030")


def test_the_table_has_a_row_a_class_and_the_scores_without_classes(capsys):
    report.print_scores("run step 7, validation", {"step": 7, **SCORES})
    text = capsys.readouterr().out
    assert "run step 7, validation" in text and "accuracy 0.970" in text
    (row,) = [line for line in text.splitlines() if "nucleus" in line]
    assert "0.845" in row and "-" in row
    (mean,) = [line for line in text.splitlines() if "mean" in line]
    assert "0.912" in mean and "0.840" in mean


def test_below_the_table_stands_how_many_cases_a_score_left_out(capsys):
    left_out = {"hd95": 17.0, "hd95_cases_left_out": 3, "assd": 1.0, "assd_cases_left_out": 0}
    report.print_scores("validation", {**SCORES, **left_out})
    text = capsys.readouterr().out
    assert "hd95: 3 cases left out" in text and "assd:" not in text


def test_without_a_terminal_there_is_a_plain_line_now_and_then(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    out = console()
    with Report(tmp_path, total_steps=100, console=out) as run:
        for step in range(1, 101):
            clock[0] += 0.5
            if step == 10:
                run.scalars(step, {"images_per_second": 41.25})
            run.progress(step, 1 / step)
    lines = said(out).splitlines()
    assert len(lines) == 5  # 50 s, one line every 10 s; the last step has its own
    assert lines[0] == "step 21/100  loss 0.04762  41.2 images/s  ETA 0:40"
    assert lines[-1] == "step 100/100  loss 0.01  41.2 images/s"
    assert "\x1b" not in said(out)


def test_on_a_terminal_there_is_a_bar(tmp_path):
    out = console(terminal=True)
    with Report(tmp_path, total_steps=20, resume_step=10, console=out) as run:
        run.progress(11, 0.5, 12.5)
        run.message("[not markup] above the bar")
        run.progress(20, 0.25)
    text = said(out)
    assert "20/20" in text and "loss" in text and "12.5 images/s" in text and "ETA" in text
    assert "[not markup] above the bar" in text


def test_the_last_line_says_the_scores_and_where_everything_is(tmp_path):
    out = console()
    summary = {
        "step": 20, "best_step": 15, "validation": SCORES, "seconds": 12.4,
        "images_per_second": 3.21,
    }  # fmt: skip
    with Report(tmp_path, total_steps=20, console=out) as run:
        run.finish(summary)
        run.close()
    last = said(out).splitlines()[-1]
    assert "dice 0.912 iou 0.840" in last and "(step 15)" in last and "3.2 images/s" in last
    assert last.endswith(str(tmp_path))
    with Report(tmp_path, total_steps=20, console=out) as run:
        run.finish({"step": 0, "best_step": 0, "validation": None, "seconds": 1.0})
    assert said(out).splitlines()[-1].startswith("done: step 0, 1 s;")


@pytest.mark.parametrize("stopped", ["SIGINT", "until"])
def test_the_last_line_of_a_run_that_was_stopped_says_so(tmp_path, stopped):
    out = console()
    with Report(tmp_path, total_steps=20, console=out) as run:
        run.finish({"step": 7, "validation": None, "seconds": 12.4, "stopped": stopped})
    assert said(out).splitlines() == [
        f"so far: step 7, 12 s; everything is in {tmp_path}",
        "stopped at step 7; --resume goes on from there",
    ]


# --- pictures


@pytest.mark.parametrize("count", [0, 1, 2, 8, 30, 150])
def test_class_colors_differ_from_each_other_and_from_grey(count):
    colors = {tuple(color) for color in report.class_colors(count).tolist()}
    assert len(colors) == count and figures.GREY not in colors


def test_a_painted_label_has_its_classes_colors_and_ignore_is_grey():
    label = np.asarray([[0, 1], [9, IGNORE]], np.int32)
    painted, colors = figures.paint(label), report.class_colors(10)
    np.testing.assert_array_equal(painted[0], colors[:2])
    np.testing.assert_array_equal(painted[1], [colors[9], figures.GREY])
    assert (figures.paint(np.full((2, 2), IGNORE, np.int32)) == 128).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("spatial", [(6, 5), (4, 6, 5)])
def test_an_overlay_colors_classes_and_leaves_the_background(spatial, channels):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(*spatial, channels)).astype(np.float32)
    label = rng.integers(0, 3, spatial).astype(np.int32)
    mixed = report.overlay(image, label)
    assert mixed.shape == (*spatial, 3) and mixed.dtype == np.uint8
    np.testing.assert_array_equal(mixed[label == 0], figures.shown(image)[label == 0])
    full = report.overlay(image, label, opacity=1.0)
    np.testing.assert_array_equal(full[label > 0], figures.paint(label)[label > 0])


@pytest.mark.parametrize("value", [0.0, 7.5, NAN, float("inf")])
def test_an_image_of_one_value_can_be_shown(value):
    assert figures.shown(np.full((4, 4, 1), value, np.float32)).shape == (4, 4, 3)


def test_samples_of_nothing_and_progress_of_nothing_are_pictures_too(tmp_path):
    report.write_samples(tmp_path / "samples.png", [], ("a",))
    report.write_progress(tmp_path / "progress.png", tmp_path / "metrics.jsonl")
    for name in ("samples.png", "progress.png"):
        assert size_of(tmp_path / name)[0] > 500


def test_drawing_neither_imports_pyplot_nor_tensorflow():
    code = (
        "import sys, tempfile, pathlib; from jaxseg import disk, report\n"
        "light = 'matplotlib' not in sys.modules and 'tensorboardX' not in sys.modules\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "with report.Report(folder, total_steps=1) as run: run.scalars(1, {'loss': 1.0})\n"
        "report.write_samples(folder / 's.png', [], ())\n"
        "print(light, 'matplotlib.pyplot' in sys.modules, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]
