"""Trackers, against modules that record how they are called."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.report import Report, check_trackers, open_trackers, trackers
from jaxseg.train import train

CONFIG = {"steps": 4, "recipe": {"losses": {"dice": {"weight": 1.0}}}, "data": {"patch": (16, 16)}}


class Calls(list):
    """Functions that note their arguments; ``fails`` raises when it is called."""

    def __init__(self, fails=""):
        super().__init__()
        self.fails = fails

    def function(self, name, gives=None):
        def call(*given, **fields):
            if name == self.fails:
                raise ConnectionError("no server\nsecond line")
            self.append((name, given, fields))
            return gives

        return call


def wandb(monkeypatch, fails=""):
    calls = Calls(fails)
    run = SimpleNamespace(id="w1", log=calls.function("log"), finish=calls.function("finish"))
    module = SimpleNamespace(init=calls.function("init", run), Image=lambda x, caption: caption)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


def mlflow(monkeypatch, fails=""):
    calls = Calls(fails)
    run = SimpleNamespace(info=SimpleNamespace(run_id="m1"))
    names = ("log_params", "log_metrics", "log_image", "end_run")
    module = SimpleNamespace(**{name: calls.function(name) for name in names})
    module.start_run = calls.function("start_run", run)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return calls


def run_of(folder, names, *, resume=False, **fields):
    opened = open_trackers(names, folder, CONFIG, resume=resume)
    return Report(folder, total_steps=9, trackers=opened, **fields)


def follow(run, folder):
    from PIL import Image

    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "samples.png")
    with run:
        run.scalars(3, {"loss": 0.5, "gone": float("nan")})
        run.evaluation(3, {"dice": 0.25, "dice_per_class": {"a (b)": 0.25}}, metrics=("dice",))
        run.picture(3, folder / "samples.png")


def test_wandb_hears_numbers_pictures_and_the_end(tmp_path, monkeypatch):
    calls = wandb(monkeypatch)
    follow(run_of(tmp_path, ["wandb"]), tmp_path)
    name, _, init = calls[0]
    assert name == "init" and init["project"] == "jaxseg" and init["name"] == tmp_path.name
    assert init["dir"] == str(tmp_path) and init["id"] is None and init["resume"] is None
    assert init["config"] == {**CONFIG, "data": {"patch": [16, 16]}}
    assert calls[1:] == [
        ("log", ({"loss": 0.5},), {"step": 3}),
        ("log", ({"validation/dice": 0.25, "validation/dice/a (b)": 0.25},), {"step": 3}),
        ("log", ({"samples": "step 3"},), {"step": 3}),
        ("finish", (), {"exit_code": 0}),
    ]


def test_mlflow_hears_parameters_numbers_pictures_and_the_end(tmp_path, monkeypatch):
    calls = mlflow(monkeypatch)
    follow(run_of(tmp_path, ["mlflow"]), tmp_path)
    assert calls[:2] == [
        ("start_run", (), {"run_name": tmp_path.name}),
        (
            "log_params",
            ({"steps": "4", "recipe.losses.dice.weight": "1.0", "data.patch": "[16, 16]"},),
            {},
        ),
    ]
    assert ("log_metrics", ({"loss": 0.5},), {"step": 3}) in calls
    assert calls[3][1][0] == {"validation/dice": 0.25, "validation/dice.a _b_": 0.25}
    name, (image, file), _ = calls[-2]
    assert name == "log_image" and file == "samples_00000003.png" and image.shape == (4, 5, 3)
    assert calls[-1] == ("end_run", (), {"status": "FINISHED"})


def test_many_parameters_are_sent_in_parts(tmp_path, monkeypatch):
    calls = mlflow(monkeypatch)
    trackers.MLflow(tmp_path, {f"p{n}": "x" * 999 for n in range(150)}, None)
    sent = [given[0] for name, given, _ in calls if name == "log_params"]
    assert [len(part) for part in sent] == [100, 50] and len(sent[1]["p149"]) == 500


def test_a_resumed_run_goes_on_under_its_ids_and_a_new_one_does_not(tmp_path, monkeypatch):
    calls = [wandb(monkeypatch), mlflow(monkeypatch)]
    follow(run_of(tmp_path, ["wandb", "mlflow"]), tmp_path)
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": "w1", "mlflow": "m1"}
    for each in calls:
        each.clear()
    follow(run_of(tmp_path, ["wandb", "mlflow"], resume=True, resume_step=2), tmp_path)
    assert calls[0][0][2]["id"] == "w1" and calls[0][0][2]["resume"] == "allow"
    assert calls[1][0] == ("start_run", (), {"run_id": "m1"})
    assert "log_params" not in [name for name, *_ in calls[1]]
    follow(run_of(tmp_path, ["wandb"], resume=True), tmp_path)
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": "w1", "mlflow": "m1"}
    follow(run_of(tmp_path, ["wandb"]), tmp_path)
    assert calls[0][-5][2]["id"] is None


def test_an_error_of_the_run_ends_it_as_failed(tmp_path, monkeypatch):
    calls = [wandb(monkeypatch), mlflow(monkeypatch)]
    with pytest.raises(ValueError, match="training"), run_of(tmp_path, ["wandb", "mlflow"]):
        raise ValueError("training")
    assert calls[0][-1] == ("finish", (), {"exit_code": 1})
    assert calls[1][-1] == ("end_run", (), {"status": "FAILED"})


def test_a_tracker_that_fails_is_said_once_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    calls = wandb(monkeypatch, fails="log")
    follow(run_of(tmp_path, ["wandb"]), tmp_path)
    said = capsys.readouterr().out
    assert said.count("wandb has failed and is left out from here on: ConnectionError") == 1
    assert "second line" not in said and [name for name, *_ in calls] == ["init", "finish"]
    assert calls[-1][2] == {"exit_code": 1}
    assert '"loss": 0.5' in (tmp_path / "metrics.jsonl").read_text()


def test_a_tracker_that_cannot_begin_is_one_line(tmp_path, monkeypatch):
    kept = wandb(monkeypatch)
    mlflow(monkeypatch, fails="start_run")
    with pytest.raises(UserError, match="^--log mlflow: ConnectionError: no server$"):
        open_trackers(["wandb", "mlflow"], tmp_path, CONFIG, resume=False)
    assert kept[-1] == ("finish", (), {"exit_code": 1})


def test_a_package_that_is_missing_or_a_folder_is_named_with_what_to_install(monkeypatch):
    for module in (None, SimpleNamespace()):  # None: as if not installed
        monkeypatch.setitem(sys.modules, "wandb", module)
        with pytest.raises(UserError, match=r'--log wandb needs wandb: pip install "jaxseg\[wandb'):
            check_trackers(["wandb"])
    with pytest.raises(UserError, match="'wandbb'; the nearest is 'wandb'"):
        check_trackers(["wandbb"])
    wandb(monkeypatch)
    check_trackers(["wandb"])


def test_tensorboard_has_pictures_too(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    follow(run_of(tmp_path, []), tmp_path)
    (path,) = tmp_path.glob("events.*")
    data, at, found = path.read_bytes(), 0, {}
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + length])
        at += 12 + length + 4
        found |= {value.tag: (event.step, value.image) for value in event.summary.value}
    step, image = found["samples"]
    assert (step, image.height, image.width, image.colorspace) == (3, 4, 5, 3)


def test_trackers_of_a_writer_that_is_handed_in_are_refused(tiny, tmp_path, monkeypatch):
    wandb(monkeypatch)
    with Report(tmp_path / "mine", total_steps=1) as writer:
        with pytest.raises(UserError, match="leave out one"):
            train(tiny(), tmp_path / "run", log=["wandb"], writer=writer)
    assert not (tmp_path / "run").exists()


def test_a_run_of_the_command_line_is_followed(tiny, tmp_path, monkeypatch):
    calls = wandb(monkeypatch)
    train(tiny(steps=2), tmp_path, log=["wandb"])
    names = [name for _, given, _ in calls if given for name in given[0]]
    assert calls[0][2]["config"]["steps"] == 2 and {"batch", "samples", "loss"} <= set(names)
    assert calls[-1] == ("finish", (), {"exit_code": 0})
