"""Objects on the command line: ``recipe.optimizer="SGD(learning_rate=Poly(peak=0.1))"``."""

import shlex
from dataclasses import dataclass

import pytest

from jaxseg import config, losses
from jaxseg.augment import Augment
from jaxseg.data import Folder, ZScore
from jaxseg.encoders import Plain, ResNet
from jaxseg.errors import UserError
from jaxseg.experiment import InitFrom
from jaxseg.losses import CrossEntropy, Dice, Ramp
from jaxseg.models import UNet
from jaxseg.optimizers import SGD, Constant, Poly
from jaxseg.overrides import overridden


@dataclass(frozen=True)
class Brier:
    """A loss of one's own."""

    weight: float = 1.0
    power: int = 2

    def __call__(self, logits, label, *, valid=None, weights=None):
        return logits


@dataclass(frozen=True)
class Focal(Brier):
    """Another, with the name of one of ours."""


@dataclass(frozen=True)
class Twice:
    """A transform of cases."""

    classes: tuple[int, ...] = ()

    def __call__(self, case):
        return case


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("recipe.optimizer=SGD", SGD()),
        ("recipe.optimizer=optimizers.SGD", SGD()),
        ("recipe.optimizer=SGD()", SGD()),
        ("recipe.optimizer=SGD(Poly(0.5))", SGD(learning_rate=Poly(peak=0.5))),
        ("recipe.losses.dice.weight=Ramp(0.01, 1.0, 2000)", losses.Ramp(0.01, 1.0, 2000)),
        ("recipe.rates=((\"encoder\", 0),)", (("encoder", 0),)),
        ("recipe.optimizer=SGD(learning_rate=Poly(peak=1))", SGD(learning_rate=Poly(peak=1.0))),
        ("recipe.optimizer= SGD( momentum = -0.5 , clip = None )", SGD(momentum=-0.5)),
        ("recipe.optimizer='SGD(clip=2)'", SGD(clip=2.0)),
        ("recipe.model.encoder='resnet34'", ResNet(depth=34)),
        ("recipe.optimizer.learning_rate=Constant(value=1e-3)", Constant(1e-3)),
        ("recipe.losses.focal=Focal(gamma=3)", losses.Focal(gamma=3.0)),
        ("recipe.losses.focal=losses.Focal", losses.Focal()),
        ("recipe.losses.dice=CrossEntropy(class_weights=[1, 2])",
         CrossEntropy(class_weights=(1.0, 2.0))),
        ("recipe.losses.dice.weight=Ramp(start=0, end=1, steps=9)", Ramp(0.0, 1.0, 9)),
        ('recipe.losses={"a": Dice(), "b": Focal(weight=2)}',
         {"a": Dice(), "b": losses.Focal(weight=2.0)}),
        ("recipe.augment=Augment(flip=0.5)", Augment(flip=0.5)),
        ("recipe.model.encoder=resnet34", ResNet(depth=34)),
        ("recipe.model.encoder=ResNet(depth=18)", ResNet(depth=18)),
        ("recipe.model=UNet(num_classes=2, encoder=resnet18)",
         UNet(num_classes=2, encoder=ResNet(depth=18))),
        ("recipe.model=UNet(num_classes=2, encoder=Plain(widths=(4, 8)))",
         UNet(num_classes=2, encoder=Plain(widths=(4, 8)))),
        ('data.dataset=Folder(num_classes=3, masks="labels")', Folder(3, masks="labels")),
        ("data.normalize=ZScore", ZScore()),
        ("data.prepare=(Twice(classes=(1,)), Twice())", (Twice((1,)), Twice())),
        ("recipe.losses.brier=Brier(power=3)", Brier(power=3)),
        ("recipe.losses.focal=test_calls.Focal", Focal()),
        ('init_from.model=InitFrom(run="a/b", fresh=("head",))',
         InitFrom(run="a/b", fresh=("head",))),
    ],
)  # fmt: skip
def test_an_object_is_typed_as_in_a_config(tiny, override, value):
    name = override.partition("=")[0]
    own = (Brier, Twice) + ((Focal,) if "test_calls" in override else ())
    node = overridden(tiny(), [override], own)
    for part in name.split("."):
        node = node[part] if isinstance(node, dict) else getattr(node, part)
    assert node == value and type(node) is type(value)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("data.root=Folder", "Folder"),
        ("data.root=Folder(1)", "Folder(1)"),
        ("data.root=(a(1), b)", "(a(1), b)"),
        ("data.root=some/SGD(old).v2", "some/SGD(old).v2"),
        ("init_from.model=runs", "runs"),
        ("init_from.model=runs(2)", "runs(2)"),
        ("data.cache=disk", "disk"),
    ],
)
def test_a_text_stays_one_where_a_text_is_wanted(tiny, override, value):
    group, name = override.partition("=")[0].split(".")
    node = getattr(overridden(tiny(), [override]), group)
    assert (node[name] if group == "init_from" else getattr(node, name)) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.optimizer=SDG", "optimizer: no class is called 'SDG'; the nearest is 'SGD'"),
        ("recipe.optimizer=SDG()", "recipe.optimizer: no class is called 'SDG'; the nearest is"),
        ("recipe.optimizer=zzz", "no class is called 'zzz'; there are Adam, AdamW, RMSprop, SGD"),
        ("recipe.optimizer=Dice()", r"recipe.optimizer=Dice\(.*: expected SGD \| Adam \| AdamW"),
        ("recipe.optimizer=Dice", "no class is called 'Dice'; there are Adam, AdamW, RMSprop, SGD"),
        ("recipe.losses.dice=Dice(1)", r"Dice takes 0 fields without a name; write Dice\("),
        ("data.normalize=Unit(3)", r"Unit takes 0 fields without a name; write Unit\(\)"),
        ("recipe.optimizer=SGD(0.1, learning_rate=1)", "SGD is given learning_rate twice"),
        ("recipe.optimizer=SGD(rate=0.1)", "no field 'rate'; the nearest is 'learning_rate'"),
        ("recipe.optimizer=SGD(momentum='a')", "recipe.optimizer.momentum='a': expected float"),
        ("recipe.optimizer=SGD(momentum=a)", "recipe.optimizer.momentum='a': expected float"),
        ("recipe.optimizer=SGD(learning_rate=Poli(peak=1))", "'Poli'; the nearest is 'Poly'"),
        ("recipe.optimizer=SGD(learning_rate=Poly)", "learning_rate: Poly needs peak; write Poly"),
        ("recipe.optimizer=SGD(clip=1, clip=2)", "SGD is given clip twice"),
        ("recipe.optimizer=SGD(**{'clip': 1})", r"SGD has no field '\*\*'"),
        ("recipe.optimizer=SGD(clip=2 ** 9)", r"clip: 2 \*\* 9 is neither a literal nor a class"),
        ("recipe.optimizer=SGD(clip=open('/etc/passwd'))", "no class is called 'open'"),
        ("recipe.optimizer=__import__('os').system('ls')", "recipe.optimizer=.*: expected SGD"),
        ("recipe.optimizer=SGD(clip=[c for c in 'a'])", "is neither a literal nor a class"),
        ("recipe.optimizer=SGD.build(1)", "no class is called 'SGD.build'"),
        ("recipe.losses.focal=Foccal", "no class is called 'Foccal'; the nearest is 'Focal'"),
        ("recipe.losses.focal=Focal(gama=2)", "Focal has no field 'gama'; the nearest is 'gamma'"),
        ("recipe.losses.focal=Focal(gamma=-1)", "Focal.gamma=-1"),
        ("recipe.losses.dise=3", "unknown name 'dise'; the nearest is 'dice'"),
        ("recipe.model=UNet", r"UNet needs num_classes; write UNet\(num_classes=...\)"),
        (
            "recipe.optimizer=SGD(Exponential(peak=0.1))",
            r"needs decay, every; write Exponential\(peak=0.1, decay=..., every=...\)",
        ),
        ("recipe.model=UNet(num_classes=2, encoder=resnet3)", "no encoder is called 'resnet3'"),
        ("recipe.model.encoder=ResNett(depth=3)", "called 'ResNett'; the nearest is 'ResNet'"),
        ("data.dataset=Foldr(num_classes=2)", "called 'Foldr'; the nearest is 'Folder'"),
        ("data.dataset=Folder(num_classes=0)", "num_classes=0"),
        ("data.dataset=Folder", r"Folder needs num_classes; write Folder\(num_classes=...\)"),
        ("data.prepare=(Twise(),)", "data.prepare: no class is called 'Twise'"),
        ("recipe.losses={'a': Dice(), 'b': c()}", "recipe.losses.b: no class is called 'c'"),
        ("recipe.losses={**Dice()}", "is neither a literal nor a class"),
    ],
)  # fmt: skip
def test_what_is_no_object_is_one_line(tiny, override, message):
    with pytest.raises(UserError, match=message) as caught:
        overridden(tiny(), [override])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 900


def test_a_name_of_two_classes_that_fit_is_asked_about(tiny):
    with pytest.raises(UserError, match=r"Focal is the name of losses\.Focal and .*test_calls\.F"):
        overridden(tiny(), ["recipe.losses.focal=Focal(weight=2)"], [Focal])
    found = overridden(tiny(), ["recipe.losses.focal=losses.Focal"], [Focal])
    assert found.recipe.losses["focal"] == losses.Focal()


def test_own_classes_of_experiment_config_and_file_are_known(tiny, tmp_path, capsys):
    experiment = tiny(losses={"brier": Brier(power=3)})
    found = overridden(experiment, ["recipe.losses.brier=Brier(power=4)"])
    assert found.recipe.losses["brier"] == Brier(power=4)
    path = tmp_path / "mine.py"
    path.write_text(
        "import dataclasses, pathlib\nimport flax.linen as nn\nfrom jaxseg import config\n"
        "@dataclasses.dataclass(frozen=True)\nclass Clip:\n    high: float = 1.0\n"
        "    def __call__(self, case):\n        return case\n"
        "def experiment():\n    return config.read('configs/quickstart.py')\n"
    )
    found = config.read(path, ["data.prepare=(Clip(high=2),)", "recipe.optimizer=SGD"])
    assert found.data.prepare[0].high == 2.0 and found.recipe.optimizer == SGD()
    words = ["configs/quickstart.py", "data.prepare=(Clip(high=3),)"]
    with pytest.raises(UserError, match="data.prepare: no class is called 'Clip'"):
        config.main(words)
    config.main([*words, "--classes", str(path)])
    assert "data.prepare='(Clip(high=3.0),)'" in capsys.readouterr().out
    with pytest.raises(UserError, match="data.prepare: no class is called 'Klip'"):
        config.read(path, ["data.prepare=(Klip(),)"])


def test_all_that_is_shown_is_an_override(tiny):
    experiment = tiny(
        model=UNet(num_classes=2, encoder=ResNet(depth=18)),
        losses={"dice": Dice(weight=Ramp(0.0, 1.0, 5)), "brier": Brier(power=4)},
        optimizer=SGD(learning_rate=Poly(peak=0.1), clip=1.0),
        rates=(("encoder", 0.1),),
    )
    shown = config.lines(experiment)
    typed = dict(line.partition("=")[::2] for line, _ in shown)
    assert typed["recipe.optimizer"] == "'SGD(learning_rate=Poly(peak=0.1), clip=1.0)'"
    assert typed["recipe.losses.brier.power"] == "4" and typed["data.sampling"] == "random"
    assert dict(shown)["recipe.losses.brier.power=4"] == "int"
    assert dict(shown)["recipe.optimizer.clip=1.0"] == "float | None"
    words = shlex.split(" ".join(line for line, _ in shown))
    assert overridden(tiny(), words, [Brier]) == experiment
    awkward = overridden(tiny(), ["data.root='1'", 'init_from.model=it\'s a "run"'])
    words = shlex.split(" ".join(line for line, _ in config.lines(awkward)))
    assert awkward.data.root == "1" and overridden(tiny(), words) == awkward


def test_the_command_prints_them(capsys):
    config.main(["configs/quickstart.py", "recipe.optimizer=AdamW(clip=1)", "steps=7"])
    printed = capsys.readouterr().out.splitlines()
    assert "steps=7  # int" in printed
    assert "recipe.optimizer='AdamW(clip=1.0)'  # SGD | Adam | AdamW | RMSprop" in printed
    assert any(line.startswith("data.dataset='Synthetic(") for line in printed)
    assert all(line.partition("  # ")[2] for line in printed)
