"""Experiments as JSON: names of classes, formats, what cannot be held, what is trained of it."""

import dataclasses
import json
from pathlib import Path

import flax.linen as nn
import pytest

from jaxseg import record
from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.models import UNet


class Pair(nn.Module):
    """Two networks of the caller's own."""

    members: tuple[nn.Module, ...]
    num_classes: int = 2
    stride: int = 2


def test_a_class_is_known_by_its_home(tiny):
    tree = record.to_json(tiny())
    assert tree["class"] == "experiment.Experiment"
    assert tree["recipe"]["class"] == "recipes.Supervised"
    assert tree["recipe"]["model"]["class"] == "models.UNet"
    assert tree["recipe"]["losses"]["dice"]["class"] == "losses.Dice"
    assert tree["data"]["dataset"]["class"] == "data.Synthetic"
    assert record.name_of(Pair) == f"{__name__}:Pair"


def test_json_is_only_decoded_into_known_classes(tiny, tmp_path):
    tree = record.to_json(tiny())
    for name in ("Popen", "subprocess:Popen", "UNet", "models.Nothing", 7, None):
        tree["recipe"]["model"]["class"] = name
        with pytest.raises(UserError, match=f"unknown class {name!r}; say --classes FILE"):
            record.from_json(tree)
    path = tmp_path / "experiment.json"
    for text in ("not json", "[]", '{"num_classes": 2}', '{"format": 1, "class": "models.UNet"}'):
        path.write_text(text)
        with pytest.raises(UserError, match=f"{path}: "):
            record.read_json(path)


def test_a_namesake_of_ours_is_not_taken_for_ours(tiny):
    class UNet(nn.Module):
        num_classes: int
        stride: int = 1

    experiment = tiny(model=UNet(num_classes=2))
    tree = record.to_json(experiment)
    with pytest.raises(UserError, match=r"unknown class '.*UNet'; say --classes"):
        record.from_json(tree)
    read = record.from_json(tree, classes=[UNet])
    assert read == experiment and type(read.recipe.model) is UNet


def test_a_run_of_before_formats_and_one_of_a_later_format_are_refused_in_a_line(tiny, tmp_path):
    path = tmp_path / "experiment.json"
    record.write_json(tiny(), path)
    tree = json.loads(path.read_text())
    assert record.read_json(path) == tiny()
    path.write_text(json.dumps(tree | {"format": 2}))
    with pytest.raises(UserError, match="format 2, and this jaxseg reads up to 1"):
        record.read_json(path)
    del tree["format"]
    path.write_text(json.dumps(tree))
    with pytest.raises(UserError, match="written before formats were kept"):
        record.read_json(path)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"model": lambda: 0}, "recipe.model"),
        ({"losses": {3: "x"}}, "recipe.losses: 3 cannot be a name"),
        ({"losses": {"class": "x"}}, "recipe.losses: 'class' cannot be a name"),
        ({"augment": {1, 2}}, r"recipe.augment=\{1, 2\} cannot stand in an experiment"),
        ({"rates": (("encoder", b"x"),)}, r"recipe.rates\[0\]\[1\]=b'x' cannot stand"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_its_name(tiny, value, where):
    experiment = tiny()
    for name, one in value.items():
        object.__setattr__(experiment.recipe, name, one)
    with pytest.raises(UserError, match=where):
        record.canonical(experiment)


def test_two_fields_that_are_one_object_are_trained_as_two(tiny):
    net = UNet(num_classes=2, encoder=Plain(widths=(4, 8)))
    read = record.canonical(tiny(model=Pair(members=(net, net))))
    first, second = read.recipe.model.members
    assert first == second == net and first is not second


def test_a_list_is_not_what_is_read_back(tiny):
    experiment = tiny()
    object.__setattr__(experiment.evaluation, "metrics", ["dice"])
    with pytest.raises(UserError, match=r"evaluation.metrics=\['dice'\] cannot stand"):
        record.canonical(experiment)


def test_the_file_of_an_own_class_is_known_by_its_digest(tiny, tmp_path):
    path = tmp_path / "experiment.json"
    record.write_json(tiny(model=Pair(members=())), path)
    assert record.changed_sources(path, [Pair]) == []
    tree = json.loads(path.read_text())
    assert list(tree["sources"]) == [__name__] and len(tree["sources"][__name__]) == 64
    path.write_text(json.dumps(tree | {"sources": {__name__: "0" * 64}}))
    assert record.changed_sources(path, [Pair]) == [__name__]


def test_a_field_that_is_no_more_is_named(tiny):
    tree = record.to_json(tiny())
    tree["recipe"]["model"]["param_dtype"] = "float32"
    with pytest.raises(UserError, match="models.UNet has no field 'param_dtype'"):
        record.from_json(tree)


def test_a_field_that_the_file_lacks_has_its_default(tiny):
    tree = record.to_json(tiny())
    for name in ("init_from", "streams"):
        del tree[name]
    assert record.from_json(tree) == tiny()
    del tree["steps"]
    with pytest.raises(UserError, match="steps"):
        record.from_json(tree)


def test_a_resumed_run_may_move_the_data_of_its_streams(tiny):
    from jaxseg.data import Data, Stream, Synthetic

    def with_root(root, seed=0):
        other = Stream(data=Data(dataset=Synthetic(size=(32, 32), seed=seed), root=root))
        return dataclasses.replace(tiny(), streams={"more": other})

    record.compatible(with_root("here"), with_root("there"), Path("w"))
    with pytest.raises(UserError, match="streams.more.data.dataset.seed is 0 in w and 1 now"):
        record.compatible(with_root("here"), with_root("here", seed=1), Path("w"))
