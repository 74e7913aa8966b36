"""The README's programs run as they stand there."""

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg import config
from jaxseg.data import Synthetic
from jaxseg.train import train

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def place(tiny_factory, tmp_path_factory):
    """A folder in which runs/quickstart is a finished run."""
    folder = tmp_path_factory.mktemp("readme")
    train(tiny_factory(steps=2), folder / "runs" / "quickstart")
    return folder


@pytest.mark.parametrize("marker", ["jaxseg.load", "ocp.load"])
def test_a_program_outside_the_package_uses_a_run(place, marker):
    program = next(p for p in PROGRAMS if marker in p).replace("checkpoints/120", "checkpoints/2")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if marker == "ocp.load":
        assert "'head': ['bias', 'kernel']" in done.stdout


def test_the_gradient_program_is_as_short_as_it_says():
    program = next(p for p in PROGRAMS if "jax.grad" in p)
    assert len([line for line in program.splitlines() if line.strip()]) <= 15


NARROW = ["recipe.model.encoder.widths=(8, 16, 32)", "batch_size=8", "mesh.data=1"]
NARROW += ["steps=60", "evaluation.every=60", "checkpoint.every=60"]
"""The first hour in seconds: a smaller network and fewer steps than the README's."""


def typed(marker: str, *more: str) -> None:
    """Runs the README's command that has ``marker`` in it."""
    (line,) = re.findall(rf"^python -m (jaxseg\..*{re.escape(marker)}.*)$", README, re.MULTILINE)
    module, *words = shlex.split(line)
    importlib.import_module(module).main([*words, *more])


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    """Where the first hour begins: pictures with masks of 0 and 255, and the README's config."""
    place = tmp_path_factory.mktemp("hour")
    source = Synthetic(size=(64, 64), count=(20, 4, 0))
    for root, split in (("mine", "train"), ("new", "validation")):
        cases = source.open("", split)
        for i in range(len(cases)):
            for name, array in (
                ("images", cases[i]["image"][..., 0]),
                ("masks", (255 * cases[i]["label"]).astype("uint8")),
            ):
                (place / root / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(place / root / name / f"{i}.png")
    shutil.copytree(ROOT / "configs", place / "configs")
    (place / "mine.py").write_text(next(p for p in PROGRAMS if "Folder(" in p))
    return place


def test_the_quickstart_starts(hour, monkeypatch):
    monkeypatch.chdir(hour)
    short = [word for word in NARROW if word.startswith(("recipe", "batch", "mesh"))]
    typed("--config configs/quickstart.py --workdir runs/quickstart", *short, "steps=1")
    assert (hour / "runs" / "quickstart" / "samples.png").is_file()


@pytest.mark.slow
def test_the_first_hour_goes_as_it_stands_there(hour, monkeypatch, capsys):
    """Each command in its order; masks of 0 and 255 are learnt, and new labels scored."""
    monkeypatch.chdir(hour)
    typed("inspect --config mine.py", *NARROW)
    assert (hour / "look" / "batch.png").stat().st_size > 1000
    typed("train --config mine.py --workdir runs/mine", *NARROW)
    found = json.loads((hour / "runs" / "mine" / "summary.json").read_text())["validation"]
    assert found["dice"] >= 0.85 and min(found["dice_per_class"]) >= 0.85, found

    typed("--masks new/masks")
    scores = json.loads((hour / "runs" / "mine" / "evaluation.json").read_text())
    (new,) = (value for key, value in scores.items() if "new/images" in key)
    assert new["cases"] == 4 and min(new["dice_per_class"]) >= 0.85, new

    typed("--output predictions")
    for number in range(4):
        with Image.open(hour / "predictions" / f"{number}.png") as image:
            labels = np.asarray(image)
        mask = np.asarray(Image.open(hour / "new" / "masks" / f"{number}.png"))
        assert set(np.unique(labels)) == {0, 255}
        assert (labels == mask).mean() > 0.9

    capsys.readouterr()
    short = [word for word in NARROW if "steps" not in word]
    typed("--workdir runs/finetuned", *short, "steps=2")
    assert re.search(r"init_from.model: \d+ arrays taken", capsys.readouterr().out)


def test_every_training_that_the_readme_names_can_be_read(monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = re.findall(r"^python -m jaxseg.train +(--config configs.*)$", README, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        words = shlex.split(line)
        overrides = [word for word in words[4:] if "=" in word]
        config.read(words[1], overrides)


def test_the_intensities_of_a_run_are_had_with_it(place):
    run = jaxseg.opened(place / "runs" / "quickstart")
    image = run.experiment.data.image(np.full((16, 16, 1), 51, np.uint8), name="x.png")
    np.testing.assert_allclose(image, 0.2)
    assert run.model == jaxseg.load(place / "runs" / "quickstart")[0]


def test_the_first_hour_stands_in_order():
    order = ["Install", "Quickstart", "Your own folder", "Look at the batch", "Train"]
    order += ["Evaluate on new labels", "Predict", "Fine-tune"]
    assert re.findall(r"^### (.+)$", README, re.MULTILINE)[: len(order)] == order


def test_every_command_of_the_readme_has_help():
    for name in sorted(set(re.findall(r"python -m (jaxseg\.\w+)", README))):
        done = subprocess.run(
            [sys.executable, "-m", name, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0 and "example" in done.stdout, name
