"""A run with a network of one's own, called as one of ours, through every command."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxseg import checkpoint, config, evaluate, export, predict, train
from jaxseg.errors import UserError

CONFIG = '''
"""A network of one's own."""
from __future__ import annotations

import flax.linen as nn

from jaxseg.data import Data, Synthetic
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.recipes import Supervised
from jaxseg.sharding import MeshShape
from jaxseg.types import Prediction


class UNet(nn.Module):
    """A namesake of ours that is none."""

    num_classes: int
    width: int = 4
    dtype: str = "float32"
    stride: int = 1

    @nn.compact
    def __call__(self, image, *, train):
        x = nn.relu(nn.Conv(self.width, (3, 3), name="look")(image.astype(self.dtype)))
        logits = nn.Conv(self.num_classes, (1, 1), name="head")(x)
        return Prediction(logits.astype("float32"))


def experiment():
    data = Data(dataset=Synthetic(size=(16, 16), count=(4, 2, 2), radius=(2.0, 4.0)))
    return Experiment(
        recipe=Supervised(UNet(num_classes=2)),
        data=data,
        steps=2,
        batch_size=2,
        evaluation=Evaluation(every=2),
        checkpoint=Checkpoints(every=1, keep=2),
        mesh=MeshShape(data=1),
    )
'''


@pytest.fixture
def run(tmp_path):
    """The config's path and the workdir of two steps of it."""
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    train.main(["--config", str(path), "--workdir", str(tmp_path / "run")])
    return path, tmp_path / "run"


def refused(verb, *words):
    with pytest.raises(UserError) as caught:
        verb.main([str(word) for word in words])
    return str(caught.value)


def test_every_command_takes_it_with_its_file_and_refuses_it_without(run, tmp_path, capsys):
    path, workdir = run
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "a.png")
    ends = {
        evaluate: (),
        predict: ("--input", tmp_path / "a.png", "--output", tmp_path / "out"),
        export: ("--output", tmp_path / "m.stablehlo", "--platforms", "cpu"),
        train: ("--resume", "steps=3"),
    }
    for verb, words in ends.items():
        said = refused(verb, "--workdir", workdir, *words)
        assert "unknown class 'mine:UNet'; say --classes FILE" in said and str(workdir) in said
    for verb, words in ends.items():
        verb.main([str(w) for w in ("--workdir", workdir, "--classes", path, *words)])
    assert "has changed" not in capsys.readouterr().err
    assert checkpoint.steps(workdir)[-1] == 3
    assert (tmp_path / "out" / "a.png").is_file() and (tmp_path / "m.stablehlo").is_file()
    with pytest.raises(UserError, match="unknown class"):
        checkpoint.load(workdir)
    model, variables = checkpoint.load(workdir, classes=config.classes(path))
    assert set(variables["params"]) == {"look", "head"} and model.width == 4


def test_a_file_that_is_not_what_the_run_was_trained_with_is_said(run, capsys):
    path, workdir = run
    path.write_text(CONFIG.replace("nn.relu", "nn.gelu"))
    capsys.readouterr()
    evaluate.main(["--workdir", str(workdir), "--classes", str(path)])
    assert "mine has changed since the run began" in capsys.readouterr().err


def test_a_run_that_goes_on_with_another_file_says_so(run, capsys):
    path, workdir = run
    path.write_text(CONFIG.replace("nn.relu", "nn.gelu"))
    for words in (("--config", path, "steps=3"), ("--classes", path, "steps=4")):
        capsys.readouterr()
        train.main([str(w) for w in ("--workdir", workdir, "--resume", *words)])
        said = capsys.readouterr().err.count("mine has changed since the run began")
        assert said == (1 if words[0] == "--config" else 0)  # the digest is then the new file's


def test_a_run_starts_from_one_of_other_own_classes(run, tmp_path, capsys):
    path, workdir = run
    other = tmp_path / "other.py"
    other.write_text(CONFIG.replace("class UNet", "class Net").replace("UNet(num", "Net(num"))
    words = ["--config", other, "--workdir", tmp_path / "new", f"init_from.model={workdir}"]
    assert "unknown class 'mine:UNet'; say --classes FILE" in refused(train, *words)
    train.main([str(w) for w in (*words, "--classes", path)])
    assert "init_from.model: 4 arrays taken" in capsys.readouterr().out


def test_nothing_of_a_workdir_is_run(run):
    path, workdir = run
    tree = json.loads((workdir / "experiment.json").read_text())
    assert tree["recipe"]["model"]["class"] == "mine:UNet"
    tree["recipe"]["model"]["class"] = "os:system"
    (workdir / "experiment.json").write_text(json.dumps(tree))
    said = refused(evaluate, "--workdir", workdir, "--classes", path)
    assert "unknown class 'os:system'" in said


def test_a_file_of_classes_that_cannot_be_run_is_named(run, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_this_name")
    said = refused(evaluate, "--workdir", run[1], "--classes", broken)
    assert said.startswith(f"{broken}: ModuleNotFoundError")
    said = refused(evaluate, "--workdir", run[1], "--classes", tmp_path / "mime.py")
    assert "no such config file" in said and "'mine.py'" in said


@pytest.mark.parametrize("verb", [evaluate, predict, export, train])
def test_help_names_the_option(verb, capsys):
    with pytest.raises(SystemExit):
        verb.main(["--help"])
    assert "--classes FILE" in capsys.readouterr().out


def test_a_network_without_a_stride_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG.replace("    stride: int = 1\n", ""))
    said = refused(train, "--config", path, "--workdir", tmp_path / "run")
    assert "UNet has no `stride`" in said
    assert not (tmp_path / "run" / "experiment.json").exists()


def test_a_network_that_returns_no_prediction_is_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG.replace('Prediction(logits.astype("float32"))', "logits"))
    said = refused(train, "--config", path, "--workdir", tmp_path / "run")
    assert "UNet returns" in said and "Prediction" in said
