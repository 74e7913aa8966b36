"""python -m jaxseg.models: every network in one table, without compiling any."""

import functools
import json

import pytest

from jaxseg import command, cost, models
from jaxseg.encoders import ENCODERS, Plain, ResNet
from jaxseg.errors import UserError
from jaxseg.models import MODELS
from jaxseg.models import __main__ as listed
from jaxseg.models.__main__ import main


@pytest.fixture
def few(monkeypatch):
    """Two networks and two encoders alone; what all cost is asked by the README's table."""
    monkeypatch.setattr(listed, "MODELS", {name: MODELS[name] for name in ("unet", "unet_2015")})
    monkeypatch.setattr(listed, "ENCODERS", {n: ENCODERS[n] for n in ("plain", "resnet50")})


def test_there_is_a_row_for_each_network_and_encoder(monkeypatch, capsys):
    monkeypatch.setattr(
        cost, "counted_all", lambda _, images: [{"macs": i.shape[1]} for i in images]
    )
    main(["--json", "--size", "64"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == set(MODELS)
    assert {row["encoder"] for row in rows if row["name"] == "unet"} == set(ENCODERS)
    assert all(64 <= row["macs"] < 256 and row["year"] >= 2015 for row in rows)


def test_json_has_what_each_costs(few, capsys):
    main(["--json", "--size", "64", "--classes", "2", "--channels", "1"])
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3
    found = {(row["name"], row["encoder"]): row for row in rows}
    assert found["unet_2015", None]["parameters"] == 31_030_658
    assert found["unet_2015", None]["size"] == 188
    assert found["unet", "resnet50"]["parameters"] == 32_514_978
    assert all(row["macs"] > 0 for row in rows)


def test_several_processes_give_the_rows_of_one_in_order(few, monkeypatch):
    alone = listed.rows(64, 2, 1)
    monkeypatch.setattr(cost, "A_PROCESS_IS_WORTH", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert listed.rows(64, 2, 1) == alone


def test_a_partial_is_an_entry_as_any_other(few, monkeypatch, capsys):
    narrow = functools.partial(models.UNet, encoder=Plain((4, 8)), dropout=0.5)
    for of in (MODELS, listed.MODELS):
        monkeypatch.setitem(of, "narrow_unet", functools.partial(narrow, head_kernel=3))
    model = models.create("narrow_unet", num_classes=3, dropout=0.25)
    assert model == models.UNet(3, encoder=Plain((4, 8)), dropout=0.25, head_kernel=3)
    with pytest.raises(UserError, match="no field of narrow_unet is called 'dropuot'.*'dropout'"):
        models.create("narrow_unet", num_classes=3, dropuot=0.1)
    main(["--json", "--size", "32"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["narrow_unet"]["author"] == "Ronneberger"
    assert rows["narrow_unet"]["parameters"] < 5000


def test_a_named_encoder_keeps_the_output_stride_that_the_network_asks_for(monkeypatch):
    dilated = functools.partial(models.UNet, encoder=ResNet(18, output_stride=8))
    monkeypatch.setitem(MODELS, "dilated_unet", dilated)
    model = models.create("dilated_unet", num_classes=2, encoder="resnet50")
    assert model.encoder == ResNet(50, output_stride=8)
    with pytest.raises(UserError, match="'plain' has no output_stride=8"):
        models.create("dilated_unet", num_classes=2, encoder="plain")
    assert models.create("unet", num_classes=2, encoder="resnet50").encoder == ResNet(50)


def test_the_table_names_each_network(few, capsys):
    main(["--size", "64"])
    out = capsys.readouterr().out
    assert all(name in out for name in ("unet_2015", "unet + plain", "unet + resnet50"))
    assert "31,038,933" in out


def test_an_impossible_size_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        command.run(main, ["--size", "0"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said == "jaxseg: error: --size must be at least 1\n"
