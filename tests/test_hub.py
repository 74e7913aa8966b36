"""Runs shared and fetched: what travels, what does not, and that nothing is half-written."""

import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import jaxseg
from jaxseg import __main__, command
from jaxseg.data import Folder
from jaxseg.errors import UserError
from jaxseg.hub import main, pull, push
from tests.made_run import made_run

FILES = ["README.md", "experiment.json", "model.safetensors"]
NUCLEI = Folder(num_classes=2, channels=1, class_names=("ground", "nucleus"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of step 3 in it, on data of this machine, and what was shared of it."""
    folder = tmp_path_factory.mktemp("hub")
    run = made_run(folder / "run", NUCLEI, root=str(folder / "private"))
    new = {"step": 3, "cases": 4, "dice": 0.625, "dice_per_class": [0.5, 0.75], "files": "x"}
    scores = {f"images {folder}/a b masks m": new, f"test {folder}": new, "test": new}
    scores["validation"] = {**new, "step": 2, "dice": 0.125}
    (run / "evaluation.json").write_text(json.dumps(scores))
    push(run, str(folder / "shared"))
    return folder


def test_a_run_comes_back_with_its_numbers(place, tmp_path, capsys):
    main(["pull", "--from", str(place / "shared"), "--workdir", str(tmp_path / "new")])
    assert " step 3 -> " in capsys.readouterr().out
    before, after = jaxseg.opened(place / "run"), jaxseg.opened(tmp_path / "new")
    assert after.model == before.model and after.step == 0
    jax_tree = jaxseg.load(tmp_path / "new")[1]
    assert list(jax_tree) == list(before.variables)
    image = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
    ours, theirs = (r.model.apply(r.variables, image, train=False) for r in (before, after))
    np.testing.assert_array_equal(ours.logits, theirs.logits)


def test_what_travels_names_no_place_of_the_machine(place):
    shared = place / "shared"
    assert sorted(path.name for path in shared.iterdir()) == FILES
    for path in shared.iterdir():
        assert str(place).encode() not in path.read_bytes(), path
    assert json.loads((shared / "experiment.json").read_text())["data"]["root"] == ""


def test_the_card_says_what_the_run_knows(place):
    card = (place / "shared" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: jaxseg\n")
    for said in (
        "`UNet(num_classes=2, encoder=Plain(widths=(4, 6)))`",
        "Ronneberger 2015",
        "- channels: 1",
        "  - 1: nucleus",
        "values of raw images: in [0, 1]",
        "Of step 3",
        "| new labelled images, 4 cases | dice | 0.625 |",
        "| test of other data, 4 cases | dice | 0.625 |",
        "| test, 4 cases | dice | 0.625 |",
        "pull --from ./shared --workdir run",
    ):
        assert said in card, card
    assert "0.125" not in card  # of another step


@pytest.mark.parametrize("damage", ["number", "short", "absent", "foreign", "network"])
def test_what_is_damaged_is_refused_and_leaves_nothing(place, tmp_path, damage):
    shared, new = tmp_path / "shared", tmp_path / "new"
    shutil.copytree(place / "shared", shared)
    model = shared / "model.safetensors"
    content = bytearray(model.read_bytes())
    if damage == "number":
        content[-2] ^= 1
        model.write_bytes(content)
        said = "its numbers are not what was shared"
    elif damage == "short":
        model.write_bytes(content[:-9])
        said = "truncated or foreign"
    elif damage == "absent":
        model.unlink()
        said = "no such file"
    elif damage == "foreign":
        save_file(load_file(model), model)
        said = "not shared by jaxseg.hub"
    else:
        text = (shared / "experiment.json").read_text()
        (shared / "experiment.json").write_text(
            text.replace('"num_classes": 2', '"num_classes": 3')
        )
        said = "new: the variables do not fit: params/head/bias is"
    with pytest.raises(UserError, match=said):
        pull(str(shared), new)
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("push --workdir RUN --to SHARED", "is there already"),
        ("push --workdir RUN --to owner", "must be owner/name"),
        ("push --workdir RUN --to sub/name", "Say ./sub/name or hf://sub/name"),
        ("push --workdir absent --to ./new", "absent/experiment.json"),
        ("push --workdir RUN --to owner/name", "pip install 'jaxseg[hub]'"),
        ("pull --from SHARED --workdir sub", "is there already"),
        ("pull --from ./absent --workdir new", "experiment.json"),
        ("pull --from SHARED --workdir new --revision main", "--revision main"),
        ("pull --from owner/name --workdir new", "pip install 'jaxseg[hub]'"),
        ("fetch", "invalid choice"),
    ],
)
def test_a_mistake_is_one_line(place, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    (tmp_path / "sub").mkdir()
    words = words.replace("RUN", str(place / "run")).replace("SHARED", str(place / "shared"))
    with pytest.raises(SystemExit) as ended:
        command.run(__main__.main, ["hub", *words.split()])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and said in line
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]


def test_a_path_of_the_machine_elsewhere_in_the_experiment_is_named(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    path = tmp_path / "run" / "experiment.json"
    path.write_text(path.read_text().replace('"masks": "masks"', '"masks": "/home/me/masks"'))
    with pytest.raises(UserError, match="data.dataset.masks='/home/me/masks' is a path of this"):
        push(tmp_path / "run", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


class Api:
    """What is used of huggingface_hub.HfApi, on a folder."""

    def __init__(self, root, *, public=False):
        self.root, self.public, self.calls = root, public, []

    def create_repo(self, name, *, private, exist_ok):
        self.calls.append((name, private, exist_ok))
        (self.root / name).mkdir(parents=True, exist_ok=exist_ok)

    def repo_info(self, name):
        return SimpleNamespace(private=not self.public)

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        assert commit_message == f"jaxseg {jaxseg.__version__}"
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)

    def snapshot_download(self, name, *, revision, allow_patterns):
        if revision == "gone":
            raise OSError("404: no such revision\nand more")
        assert allow_patterns == ["model.safetensors", "experiment.json"]
        return str(self.root / name)


def test_the_hub_is_asked_for_one_commit_and_one_snapshot(place, tmp_path, monkeypatch):
    api = Api(tmp_path / "remote")
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=lambda: api))
    push(place / "run", "me/nuclei", private=True)
    push(place / "run", "hf://me/nuclei")
    assert api.calls == [("me/nuclei", True, True), ("me/nuclei", None, True)]
    remote = tmp_path / "remote" / "me" / "nuclei"
    assert sorted(path.name for path in remote.iterdir()) == FILES
    assert "pull --from me/nuclei" in (remote / "README.md").read_text()
    shared = pull("me/nuclei", tmp_path / "new")
    assert shared.step == 3 and jaxseg.opened(tmp_path / "new").step == 0
    with pytest.raises(UserError, match="--from me/nuclei: 404: no such revision$"):
        pull("me/nuclei", tmp_path / "other", revision="gone")


def test_a_private_run_is_not_put_where_everybody_reads(place, tmp_path, monkeypatch):
    api = Api(tmp_path, public=True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=lambda: api))
    with pytest.raises(UserError, match="is there already and public"):
        push(place / "run", "me/nuclei", private=True)
    assert not list((tmp_path / "me" / "nuclei").iterdir())
