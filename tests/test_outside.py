"""The package in tests/outside goes through every command, as its authors would run them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
OUTSIDE = ROOT / "tests" / "outside"
CONFIG = str(OUTSIDE / "config.py")


def python(*words, code=0):
    """Runs Python with the package on the path; what it printed."""
    path = os.pathsep.join([str(OUTSIDE), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def jaxseg(command, *words, code=0):
    """Runs a command of jaxseg."""
    return python("-m", f"jaxseg.{command}", *words, code=code)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Trained for 40 steps, and resumed to 80."""
    workdir = tmp_path_factory.mktemp("lab") / "run"
    jaxseg("train", "--config", CONFIG, "--workdir", workdir, "steps=40")
    jaxseg("train", "--config", CONFIG, "--workdir", workdir, "--resume")
    return workdir


def test_it_trains_and_learns(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["step"] == 80
    assert summary["validation"]["agreement"] > 0.9, summary["validation"]
    assert summary["validation"]["iou_per_class"]["square"] > 0.8
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any({"absolute", "size"} <= set(line) for line in lines)
    kept = json.loads((run / "experiment.json").read_text())
    assert kept["recipe"]["class"] == "lab.recipe:Sparing"
    assert set(kept["sources"]) == {
        f"lab.{x}" for x in ("network", "loss", "metric", "data", "recipe")
    }


def test_it_is_evaluated_predicted_exported_and_loaded(run, tmp_path):
    classes = ("--classes", CONFIG)
    said = jaxseg("evaluate", "--workdir", run, "--split", "test", *classes)
    assert "agreement" in said
    scores = json.loads((run / "evaluation.json").read_text())["test"]
    assert scores["agreement"] > 0.9 and len(scores["agreement_interval"]) == 2

    image = np.full((40, 30), 110, np.uint8)
    image[10:22, 5:17] = 190
    Image.fromarray(image).save(tmp_path / "a.png")
    out = tmp_path / "out"
    jaxseg("predict", "--workdir", run, "--input", tmp_path, "--output", out, *classes)
    with Image.open(out / "a.png") as found:
        assert ((np.asarray(found) == 1) == (image == 190)).mean() > 0.9

    artifact = tmp_path / "m.stablehlo"
    words = ("--workdir", run, "--output", artifact, "--platforms", "cpu")
    jaxseg("export", *words, *classes)
    program = f"""
import jaxseg
from lab import data, loss, metric, network, recipe
classes = [network.Dilated, recipe.Sparing, data.Squares, loss.Absolute, metric.Agreement]
model, variables = jaxseg.load({str(run)!r}, classes=classes)
print(type(model).__name__, sorted(variables["params"]))
"""
    assert python("-c", program).strip() == "Dilated ['far', 'head', 'near']"


def test_without_its_classes_it_is_refused_in_one_line(run):
    said = jaxseg("evaluate", "--workdir", run, code=2)
    assert len(said.splitlines()) == 1 and "'lab." in said and "--classes FILE" in said


def test_losses_of_ones_own_are_needed_to_train_alone(run, tmp_path):
    """Scores are those with the class; the loss, of which a term is missing, is not given."""
    config = tmp_path / "served.py"
    names = ("data.Squares", "metric.Agreement", "network.Dilated", "recipe.Sparing")
    lines = [f"from lab.{n.split('.')[0]} import {n.split('.')[1]}" for n in names]
    config.write_text("\n".join(lines))
    jaxseg("evaluate", "--workdir", run, "--split", "test", "--classes", CONFIG)
    before = json.loads((run / "evaluation.json").read_text())["test"]
    jaxseg("evaluate", "--workdir", run, "--split", "test", "--classes", config)
    after = json.loads((run / "evaluation.json").read_text())["test"]
    assert after["agreement"] == before["agreement"] and "loss" in before and "loss" not in after
    words = ("--workdir", run, "--resume", "--classes", config, "steps=81")
    assert "unknown class 'lab.loss:Absolute'" in jaxseg("train", *words, code=2)
