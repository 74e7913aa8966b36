"""The README's programs run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_ones_own_images_of_masks_of_0_and_255_are_learnt(place, monkeypatch):
    from PIL import Image

    source = Synthetic(size=(64, 64), count=(20, 0, 0)).open("", "train")
    for i in range(len(source)):
        for name, array in (
            ("images", source[i]["image"][..., 0]),
            ("masks", (255 * source[i]["label"]).astype("uint8")),
        ):
            (place / "mine" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(place / "mine" / name / f"{i}.png")
    (place / "configs").mkdir()
    (place / "configs" / "quickstart.py").write_text(
        (ROOT / "configs" / "quickstart.py").read_text()
    )
    (place / "mine.py").write_text(next(p for p in PROGRAMS if "Folder(" in p))
    monkeypatch.chdir(place)
    narrow = ["recipe.model.encoder.widths=(8, 16, 32)", "steps=60", "batch_size=8"]
    narrow += ["mesh.data=1", "evaluation.every=60", "checkpoint.every=60"]
    experiment = config.read("mine.py", narrow)
    found = train(experiment, place / "runs" / "mine")["validation"]
    assert found["dice"] >= 0.85 and min(found["dice_per_class"]) >= 0.85


def test_every_command_of_the_readme_has_help():
    for name in sorted(set(re.findall(r"python -m (jaxseg\.\w+)", README))):
        done = subprocess.run(
            [sys.executable, "-m", name, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0 and "example" in done.stdout, name
