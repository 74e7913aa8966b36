"""What jaxseg.inspect prints, and that its picture is that of training."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from jaxseg import command, inspect, report
from jaxseg.augment import Augment
from jaxseg.data import Data, Synthetic
from jaxseg.errors import UserError
from jaxseg.recipes import Supervised
from jaxseg.train import train
from tests.test_bad_input import FOLDER, config_text, save


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told(Supervised):
    """Says what the network sees: means of images and labels, without weight."""

    def terms(self, state, params, prediction, batch, rng):
        rows = tuple(range(1, batch.label.ndim))
        seen = {"pixels": batch.image.mean((*rows, -1)), "classes": 1.0 * batch.label.mean(rows)}
        return super().terms(state, params, prediction, batch, rng) | seen

    def weight(self, name, at):
        return 0.0 if name in ("pixels", "classes") else super().weight(name, at)


def told(experiment, **fields):
    recipe = vars(experiment.recipe) | {"augment": Augment(flip=0.5, rotate=40.0, noise=0.3)}
    return dataclasses.replace(experiment, recipe=Told(**recipe), **fields)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_picture_is_what_step_1_saw(tiny, tmp_path, seed):
    experiment = told(tiny(steps=1, seed=seed))
    train(experiment, tmp_path / "run")
    (line,) = [x for x in report.read_metrics(tmp_path / "run/metrics.jsonl") if "pixels" in x]
    batch = inspect.first_batch(experiment)
    np.testing.assert_allclose(batch.image.mean(), line["pixels"], rtol=1e-5)
    np.testing.assert_allclose(batch.label.mean(), line["classes"], rtol=1e-5)
    fed = next(experiment.data.train(batch_size=4, seed=seed))
    assert abs(fed.image.mean() - line["pixels"]) > 1e-4, "nothing was augmented"
    assert set(inspect.inspect(experiment, tmp_path / "look")) == {"train", "validation", "test"}
    with (
        Image.open(tmp_path / "run/batch.png") as one,
        Image.open(tmp_path / "look/batch.png") as two,
    ):
        np.testing.assert_array_equal(one, two)


def test_a_volume_of_a_batch_that_is_wider_than_the_picture(tiny):
    volumes = Synthetic(size=(8, 16, 16), count=(4, 1, 1), radius=(2.0, 3.0))
    experiment = tiny(data=Data(dataset=volumes, patch=(8, 8, 8)), batch_size=12)
    assert inspect.first_batch(experiment).image.shape == (8, 8, 8, 8, 1)


@pytest.fixture
def mine(tmp_path):
    """Folder of six images, one of another size and one of one value, and a config of it."""
    rng = np.random.default_rng(0)
    for number in range(6):
        shape = (32, 40) if number == 2 else (32, 32)
        image = np.full(shape, 9) if number == 3 else rng.integers(10, 90, shape)
        save(tmp_path / f"mine/images/{number}.png", image.astype(np.uint8))
        save(tmp_path / f"mine/masks/{number}.png", np.eye(*shape, dtype=np.uint8))
    (tmp_path / "mine/train.txt").write_text("0\n1\n2\n3\n")
    (tmp_path / "mine/validation.txt").write_text("4\n5\n")
    path = tmp_path / "mine.py"
    path.write_text(config_text(dataset=FOLDER, root=tmp_path / "mine"))
    return path


def test_the_page_has_the_facts_of_each_split(mine, capsys):
    inspect.main(["--config", str(mine), "--output", str(mine.parent / "look")])
    train, validation, last = capsys.readouterr().out.split("\n\n")
    assert train.splitlines()[:2] == [
        "train       4 cases",
        "sizes       32 x 32 to 32 x 40, median 32 x 32",
    ]
    assert "raw         uint8, 9 to 89; percentiles 0.5 %: 9, 50 %: " in train
    assert "pixels      0 97.1 %, 1 2.9 %" in train  # 4 x 32 of 3 x 32 x 32 + 32 x 40
    assert "odd         1 with another size than most: 2" in train
    assert "odd         1 with an image of one value: 3" in train
    assert validation.startswith("validation  2 cases\nsizes       32 x 32\n")
    assert "odd" not in validation and "spacings    none are known" in validation
    assert "look/batch.png: the batch of step 1, after augmentation" in last
    with Image.open(mine.parent / "look/batch.png") as picture:
        assert picture.size == (2 * (192 + 8), 2 * 192 + 8 + 20)


def test_a_case_that_cannot_be_used_is_listed_and_the_exit_code_is_1(mine, capsys):
    save(mine.parent / "mine/masks/5.png", np.full((32, 32), 7, np.uint8))
    with pytest.raises(SystemExit) as end:
        inspect.main(["--config", str(mine), "--output", str(mine.parent / "look")])
    said = capsys.readouterr().out
    assert end.value.code == 1 and "validation  2 cases" in said
    assert "masks/5.png: label values 7 with num_classes=2" in said
    assert (mine.parent / "look/batch.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--config {mine}", "--output"),
        ("--config {mine} --output {mine}", "the folder could not be made"),
        (
            "--config {mine} --output {mine}.d data.root=/absent",
            "data.root=/absent: no such folder",
        ),
        ("--config {mine} --output {mine}.d data.patch=None", "set data.patch to train"),
    ],
)
def test_what_cannot_be_is_one_line(mine, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        command.run(inspect.main, words.format(mine=mine).split())
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and message in line
    assert not (mine.parent / "mine.py.d").exists()


def test_no_case_to_train_on_is_refused(tiny, tmp_path):
    data = Data(dataset=Synthetic(size=(32, 32), count=(0, 2, 2)), patch=(16, 16))
    with pytest.raises(UserError, match="the train split is empty"):
        inspect.inspect(tiny(data=data), tmp_path / "look")
    assert not (tmp_path / "look").exists()
