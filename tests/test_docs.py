"""What the pages of docs/ say works as it stands there."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxseg import checkpoint, config, evaluate, export, models, predict, train
from jaxseg.data import Data
from jaxseg.models.__main__ import rows_of
from tests import write_snapshots
from tests.models import test_numbers, test_shapes
from tests.models.cases import Case

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OWN = ("adding_a_model", "own_loss", "own_metric", "own_data", "own_recipe")


def program(page):
    """The Python of a page."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.S))


@pytest.fixture(scope="module")
def fcu(tmp_path_factory):
    """The network of adding_a_model.md, from a file outside of the package."""
    path = tmp_path_factory.mktemp("outside") / "fcu.py"
    path.write_text(program("adding_a_model"))
    spec = importlib.util.spec_from_file_location("fcu_of_the_docs", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.FCU


def test_a_network_from_outside_the_package_passes_the_contract(fcu, monkeypatch):
    monkeypatch.setitem(models.MODELS, "fcu", fcu)
    case = Case({"width": 4})
    model = models.create("fcu", num_classes=3, **case.fields)
    for check in (
        test_shapes.test_logits_are_float32_of_the_images_size_and_parameters_the_same_at_any,
        test_shapes.test_channels_classes_and_rank_are_free,
        test_shapes.test_it_says_its_stride_and_its_paper,
        test_shapes.test_one_export_serves_every_size,
        test_numbers.test_a_network_keeps_the_contract_in_numbers,
    ):
        check(model, case)
    (row,) = rows_of("fcu", 64, 2, 1)
    assert row["author"] == "Nobody" and row["parameters"] > 0
    lines = write_snapshots.of_model("fcu").splitlines()
    assert "params/head/kernel (1, 1, 16, 2) float32" in lines


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("return 2", "return 0"), "stride=0"),
        (
            (
                "    @property\n    def stride(self) -> int:",
                "    @property\n    def step(self) -> int:",
            ),
            "stride",
        ),
        (("ConvNorm(2 * self.width, name", "ConvNorm(2 * self.width + train, name"), None),
        (
            (
                "return Prediction(crop(",
                "return Prediction(x.mean(0, keepdims=True)[..., :3] + crop(",
            ),
            None,
        ),
    ],
)
def test_a_network_that_breaks_the_contract_fails_it(fcu, tmp_path, edit, message):
    path = tmp_path / "broken.py"
    source = program("adding_a_model")
    assert edit[0] in source
    path.write_text(source.replace(*edit))
    spec = importlib.util.spec_from_file_location(f"broken_{abs(hash(edit))}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, case = module.FCU(3, width=4), Case({"width": 4})
    with pytest.raises(Exception, match=message):  # noqa: B017 - whichever notices
        test_shapes.test_it_says_its_stride_and_its_paper(model, case)
        test_shapes.test_parameters_are_float32_and_depend_neither_on_size_training_nor_dtype(
            model, case
        )
        test_numbers.test_a_network_keeps_the_contract_in_numbers(model, case)


TAIL = """
from jaxseg.data import Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.sharding import MeshShape


def experiment():
    net = FCU(num_classes=2, width=4)
    return Experiment(
        recipe=Taught(net, teacher=net, losses={"brier": Brier(weight=0.5)}),
        data=Data(dataset=Stripes()),
        steps=4,
        batch_size=4,
        evaluation=Evaluation(every=2, metrics=("dice", VolumeError())),
        checkpoint=Checkpoints(every=2, keep=2),
        mesh=MeshShape(data=1),
    )
"""


def test_ones_own_network_loss_metric_data_and_recipe_go_the_whole_way(tmp_path, capsys):
    path, run = tmp_path / "mine.py", tmp_path / "run"
    path.write_text("\n".join(map(program, OWN)) + TAIL)
    train.main(["--config", str(path), "--workdir", str(run), "steps=2"])
    train.main(["--config", str(path), "--workdir", str(run), "--resume"])
    summary = json.loads((run / "summary.json").read_text())
    assert summary["step"] == 4 and summary["validation"]["volume_error"] >= 0
    taught = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("taught" in line and "brier" in line for line in taught)

    words = ["--workdir", str(run), "--classes", str(path)]
    evaluate.main([*words, "--split", "test"])
    scores = json.loads((run / "evaluation.json").read_text())["test"]
    assert len(scores["volume_error_interval"]) == 2
    assert "volume_error" in capsys.readouterr().out
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "a.png")
    predict.main([*words, "--input", str(tmp_path / "a.png"), "--output", str(tmp_path / "out")])
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == (30, 20)
    export.main([*words, "--output", str(tmp_path / "m.stablehlo"), "--platforms", "cpu"])
    classes = config.classes(path)
    model, variables = checkpoint.load(run, classes=classes)
    assert type(model).__name__ == "FCU" and "head" in variables["params"]
    teacher, taught = checkpoint.load(run, classes=classes, of="teacher")
    assert teacher == model and set(taught) == {"params", "batch_stats"}


def test_the_pages_name_files_and_links_that_are_there():
    for page in (*DOCS.glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "README.md"):
        text = page.read_text()
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for name in re.findall(r"`((?:jaxseg|tests|benchmarks|docs|configs)/[\w/.]+)`", text):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_what_a_data_set_a_recipe_and_a_metric_lack_is_said_by_its_name(tmp_path):
    path = tmp_path / "mine.py"
    whole = "\n".join(map(program, OWN)) + TAIL
    for before, after, said in (
        ("    channels = 1\n", "", "data.dataset: Stripes has no channels"),
        ("class Taught(Supervised)", "class Taught", "Taught is no recipe, it has no "),
        ("    higher_is_better = False\n", "", "VolumeError is no score: it has no"),
    ):
        assert before in whole
        text = whole.replace(before, after)
        if "recipe" in said:
            text = re.sub(r"recipe=Taught\(.*\),\n", "recipe=Taught(teacher=net),\n", text)
        path.write_text(text)
        words = ["--config", str(path), "--workdir", str(tmp_path / "run")]
        # as a user's process: here the tests' own type checks would speak first
        done = subprocess.run(
            [sys.executable, "-m", "jaxseg.train", *words], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
        assert said in done.stderr and not (tmp_path / "run" / "experiment.json").exists()


def test_the_transform_of_the_page_on_data_merges_classes():
    page: dict = {"__name__": __name__}
    exec(program("own_data"), page)
    data = Data(dataset=page["Stripes"](), prepare=(page["Merge"](classes=((1, 0),)),))
    assert Data(dataset=page["Stripes"]()).cases("train")[0]["label"].max() == 1
    assert data.cases("train")[0]["label"].max() == 0
