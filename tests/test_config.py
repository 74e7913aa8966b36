import dataclasses
import json
from pathlib import Path

import pytest

from jaxseg import config, record
from jaxseg import experiment as experiments
from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.losses import Dice
from jaxseg.models import UNet2015
from jaxseg.optimizers import Poly
from jaxseg.overrides import override_one

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.py"))


def test_json_round_trip_is_the_identity(tiny):
    experiment = tiny(ema=0.9, losses={"dice": Dice(weight=0.5)})
    tree = json.loads(json.dumps(record.to_json(experiment)))
    assert record.from_json(tree) == experiment


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_reads_and_survives_json(path):
    experiment = config.read(path)
    tree = json.loads(json.dumps(record.to_json(experiment)))
    assert record.from_json(tree) == experiment


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_gives_the_command_that_made_its_numbers(path):
    assert f"--config configs/{path.name}" in path.read_text().split('"""')[1]


def test_overrides_reach_any_depth(tiny):
    experiment = tiny()
    for override in (
        "steps=7",
        "recipe.model.encoder.widths=(2, 4, 8)",
        "recipe.losses.dice.weight=3",
        "recipe.optimizer.learning_rate.peak=1",
        "data.patch=[8, 8]",
        "recipe.ema=0.5",
        "recipe.augment=None",
        "data.root=some/folder",
    ):
        experiment = override_one(experiment, override)
    assert experiment.steps == 7
    assert experiment.recipe.model.encoder.widths == (2, 4, 8)
    assert experiment.recipe.losses["dice"].weight == 3.0
    assert isinstance(experiment.recipe.losses["dice"].weight, float)
    assert experiment.recipe.optimizer.learning_rate.peak == 1.0
    assert experiment.data.patch == (8, 8)
    assert experiment.recipe.ema == 0.5 and experiment.recipe.augment is None
    assert experiment.data.root == "some/folder"
    experiments.check(experiment)


def test_models_and_encoders_are_asked_for_by_name(tiny):
    experiment = override_one(tiny(), "recipe.model.encoder=resnet34")
    assert experiment.recipe.model.encoder == ResNet(depth=34)
    experiment = override_one(experiment, "recipe.model=unet_2015")
    assert experiment.recipe.model == UNet2015(num_classes=2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.modle.num_classes=3", "unknown name 'modle'; the nearest is 'model'"),
        ("step=3", "the nearest is 'steps'"),
        ("recipe.losses.dise.weight=1", "the nearest is 'dice'"),
        ("steps=many", "steps='many': expected int"),
        ("steps=2.5", "expected int"),
        ("recipe.dtype=float16", "expected .*bfloat16"),
        ("recipe.model=unett", "unet"),
        ("recipe.model.encoder=resnet344", "resnet34"),
        ("data.patch=16", "expected"),
        ("steps.more=1", "has no field 'more'"),
        ("steps", "name.of.field=value"),
    ],
)
def test_a_wrong_override_is_refused_in_one_line(tiny, override, message):
    with pytest.raises(UserError, match=message) as caught:
        override_one(tiny(), override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["steps=0"], "steps=0"),
        (["batch_size=0"], "batch_size"),
        (["recipe.accumulate=3"], "recipe.accumulate=3"),
        (["evaluation.overlap=1.0"], "evaluation.overlap"),
        (["data.foreground=1.5"], "data.foreground"),
        (["data.patch=(8, 8, 8)"], "data.patch"),
        (["recipe.model.num_classes=5"], "num_classes=5"),
        (["checkpoint.best=accuracy"], "checkpoint.best='accuracy'"),
        (["recipe.ema=1.0"], "recipe.ema"),
        (
            ['evaluation.metrics=("dice", "hd59")'],
            "no metric 'hd59'; the nearest is 'hd95'",
        ),
        (['evaluation.metrics=("hd95",)', "checkpoint.best=hd95"], "the least is best"),
    ],
)
def test_an_impossible_value_is_refused_with_its_name(tiny, overrides, message):
    experiment = tiny()
    with pytest.raises(UserError, match=message):
        for override in overrides:
            experiment = override_one(experiment, override)
        experiments.check(experiment)


def test_a_field_of_the_wrong_type_in_a_config_is_refused(tiny):
    experiment = tiny()
    object.__setattr__(experiment, "batch_size", "4")  # the tests' own checks would refuse it
    with pytest.raises(UserError, match="batch_size='4': expected int"):
        experiments.check(experiment)


@dataclasses.dataclass(frozen=True)
class Shift:
    """A transform of cases, to stand in a tuple."""

    by: int = 1

    def __call__(self, case):
        return case


def test_a_wrong_type_below_a_tuple_is_refused(tiny):
    experiment, wrong = tiny(), Shift()
    object.__setattr__(wrong, "by", "one")  # the tests' own checks would refuse it
    data = dataclasses.replace(experiment.data, prepare=(Shift(), wrong))
    with pytest.raises(UserError, match=r"data.prepare.1.by='one': expected int"):
        experiments.check(dataclasses.replace(experiment, data=data))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such config file"),
        ("x = 1", "define `def experiment"),
        ("def experiment(:", "SyntaxError"),
        ("from jaxseg.models import Unet", "ImportError"),
        ("def experiment():\n    return Experiment()", "experiment()"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(tmp_path, text, message):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        config.read(path)
    assert str(path) in str(caught.value)


def test_a_resumed_run_may_be_longer_but_not_another(tiny, tmp_path):
    first = tiny(steps=4)
    record.compatible(first, dataclasses.replace(first, steps=9), tmp_path)
    poly = dataclasses.replace(first.recipe.optimizer, learning_rate=Poly(peak=0.1))
    other = dataclasses.replace(first, recipe=dataclasses.replace(first.recipe, optimizer=poly))
    with pytest.raises(UserError, match="recipe.optimizer.learning_rate"):
        record.compatible(first, other, tmp_path)


def test_the_rate_follows_the_experiments_steps_unless_the_recipe_says(tiny):
    experiment = tiny(steps=7)
    assert experiment.scheduled.schedule_steps == 7
    assert tiny(schedule_steps=3).scheduled.schedule_steps == 3
