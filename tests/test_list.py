"""python -m jaxseg.list: what a config can be made of."""

import pytest

from jaxseg import list as listing
from jaxseg.data import DATASETS
from jaxseg.encoders import ENCODERS
from jaxseg.errors import UserError
from jaxseg.losses import LOSSES
from jaxseg.metrics import CASE_SCORES, MORE, SCORES
from jaxseg.models import MODELS
from jaxseg.optimizers import OPTIMIZERS


@pytest.mark.parametrize("kind", listing.KINDS)
def test_every_entry_has_a_line_that_says_what_it_is(kind):
    for entry in listing.entries(kind):
        assert entry.name and entry.what and "\n" not in entry.what, entry


def test_everything_is_there_by_the_name_that_is_typed():
    names = {kind: [entry.name for entry in listing.entries(kind)] for kind in listing.KINDS}
    assert names["models"] == list(MODELS) and names["encoders"] == list(ENCODERS)
    for kind, table in (("losses", LOSSES), ("datasets", DATASETS), ("optimizers", OPTIMIZERS)):
        assert names[kind] == [cls.__name__ for cls in table.values()]
    assert set(names["metrics"]) == {*SCORES, *MORE, *CASE_SCORES}
    assert names["schedules"] == ["Constant", "Poly", "Cosine", "Exponential"]
    assert names["recipes"] == ["Guided", "Supervised"]


def test_fields_have_types_and_defaults_and_those_of_an_entry_precede():
    shown = {entry.name: entry.fields for kind in listing.KINDS for entry in listing.entries(kind)}
    assert "num_classes: int" in shown["unet"] and "encoder: Module = Plain()" in shown["unet"]
    assert shown["resnet34"][0].endswith(" = 34") and "width: int = 64" in shown["resnet34"]
    assert "learning_rate: float | Constant | Poly | Cosine | Exponential = 0.01" in shown["SGD"]
    assert "optimizer: SGD | Adam | AdamW | RMSprop = AdamW()" in shown["Supervised"]
    assert shown["hd95"] == ()


def test_metrics_say_which_way_is_better():
    said = {entry.name: entry.what for entry in listing.entries("metrics")}
    assert said["hd95"] == "case by case, lower is better, in mm where the spacing is known"
    assert said["pq"] == "case by case, higher is better, of objects"
    assert said["iou"].startswith("``TP / (TP + FP + FN)``")


def test_the_command_prints_them_and_names_the_nearest_kind(capsys):
    listing.main(["optimizers"])
    out = capsys.readouterr().out
    assert "Adam: Adam (Kingma and Ba 2015), without weight decay.\n    learning_rate: " in out
    with pytest.raises(UserError, match="no kind is called 'optimizer'; the nearest is 'optim"):
        listing.main(["optimizer"])
