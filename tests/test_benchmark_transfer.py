"""What an encoder's weights buy: trainings that differ in the encoder's start and rate alone."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks are not installed

from benchmarks import transfer  # noqa: E402
from benchmarks.transfer import SIZES, WAYS, experiment, main  # noqa: E402
from jaxseg.experiment import InitFrom, check  # noqa: E402


@pytest.mark.parametrize("preset", SIZES)
def test_the_ways_differ_in_the_encoders_start_and_rate_alone(preset):
    ways = {way: experiment(way, Path("data"), Path("w.pth"), SIZES[preset]) for way in WAYS}
    rates = {way: e.recipe.rates for way, e in ways.items()}
    assert rates == {
        "fine_tuned": (("encoder", 0.1),),
        "frozen": (("encoder", 0.0),),
        "scratch": (),
    }
    started = {"model": InitFrom(run="w.pth", into="encoder")}
    starts = [e.init_from for e in ways.values()]
    assert starts == [started, started, {}]
    alike = {
        str(dataclasses.replace(e, init_from={}, recipe=dataclasses.replace(e.recipe, rates=())))
        for e in ways.values()
    }
    assert len(alike) == 1 and ways["scratch"].data.root == "data"
    check(ways["scratch"])


@pytest.mark.pictures
def test_a_row_has_the_curve_and_the_scores_of_the_last_step(tmp_path, monkeypatch, capsys):
    resumed = []

    def train(chosen, workdir, *, resume):
        resumed.append(resume)
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "experiment.json").touch()
        rows = [{"step": 60, "loss": 2.0}, {"step": 60, "validation/iou": 0.25}]
        rows += [{"step": 300, "validation/iou": 0.5}]
        (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"validation": {"iou": 0.5}, "images_per_second": 3.0}

    def evaluate(workdir, *, split, step):
        assert (split, step) == ("test", 300)
        return {"iou": 0.4, "accuracy": 0.7}

    monkeypatch.setattr(transfer, "train", train)
    monkeypatch.setattr(transfer, "evaluate", evaluate)
    words = ["--camvid", "data", "--weights", "w.pth", "--workdirs", str(tmp_path / "runs")]
    words += ["--output", str(tmp_path / "rows.jsonl"), "--plot", str(tmp_path / "curves.png")]
    main([*words, "--only", "frozen"])
    (tmp_path / "rows.jsonl").unlink()
    rows = main(words)
    assert resumed == [False, False, True, False]  # the second run goes on with what is there
    assert [row["way"] for row in rows] == list(WAYS)
    assert rows[0]["curve"] == [[60, 0.25], [300, 0.5]] and rows[0]["test_iou"] == 0.4
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["way"] for row in written] == list(WAYS)
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert "| scratch | 300 | 0.5 | 0.4 | 0.7 | 3 |" in capsys.readouterr().out
