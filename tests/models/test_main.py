"""python -m jaxseg.models: every network in one table, without compiling any."""

import json

import pytest

from jaxseg import command
from jaxseg.encoders import ENCODERS
from jaxseg.models import MODELS, PAPERS
from jaxseg.models.__main__ import main


def test_json_has_a_row_for_each_network_and_encoder(capsys):
    main(["--json", "--size", "64", "--classes", "2", "--channels", "1"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == set(MODELS) == set(PAPERS)
    assert {row["encoder"] for row in rows if row["name"] == "unet"} == set(ENCODERS)
    found = {(row["name"], row["encoder"]): row for row in rows}
    assert found["unet_2015", None]["parameters"] == 31_030_658
    assert found["unet_2015", None]["size"] == 188
    assert found["unet", "resnet50"]["parameters"] == 32_514_978
    assert all(row["macs"] > 0 and row["year"] >= 2015 for row in rows)


def test_the_table_names_each_network(capsys):
    main(["--size", "64"])
    out = capsys.readouterr().out
    assert all(name in out for name in MODELS) and "31,038,933" in out


def test_an_impossible_size_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        command.run(main, ["--size", "0"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said == "jaxseg: error: --size must be at least 1\n"
