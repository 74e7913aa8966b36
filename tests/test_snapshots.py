"""What is written by ``python -m tests.write_snapshots`` is what is there."""

import re

import pytest

from jaxseg.encoders import ENCODERS
from jaxseg.models import MODELS
from jaxseg.models.__main__ import WITH_EVERY_ENCODER
from tests import write_snapshots as written

pytestmark = pytest.mark.usefixtures("unchecked")

FIRST_OF_A_CLASS = tuple({type(make()): name for name, make in reversed(ENCODERS.items())}.values())
"""An encoder of each class: what the others cost is counted by `tests.models.test_counts`."""


def compare(path, text):
    assert path.is_file(), f"{path.name} is missing: {written.COMMAND}"
    assert path.read_text() == text, f"{path.name} differs; if that is meant, {written.COMMAND}"


@pytest.mark.parametrize("name", MODELS)
def test_a_network_keeps_its_parameters(name):
    compare(written.SNAPSHOTS / "models" / f"{name}.txt", written.of_model(name))


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_keeps_its_parameters(name):
    compare(written.SNAPSHOTS / "encoders" / f"{name}.txt", written.of_encoder(name))


@pytest.mark.parametrize("path", written.configs(), ids=lambda path: path.stem)
def test_a_config_keeps_its_settings(path):
    compare(written.SNAPSHOTS / "configs" / f"{path.stem}.json", written.of_config(path))


def table():
    found = written.TABLE.search(written.README.read_text())
    assert found is not None
    return found[2].removeprefix(written.HEAD)


@pytest.mark.parametrize("name", MODELS)
def test_the_readme_lists_a_network(name):
    rows = [line for line in table().splitlines(True) if line.startswith(f"| `{name}`")]
    counted = written.readme_rows(name, FIRST_OF_A_CLASS[::-1])
    assert [row for row in rows if row in counted] == counted.splitlines(True), written.COMMAND
    if name == WITH_EVERY_ENCODER:
        assert [re.findall("`(.+?)`", row)[1] for row in rows] == list(ENCODERS), written.COMMAND
    else:
        assert len(rows) == 1, written.COMMAND


def test_the_readme_lists_nothing_else():
    names = {line.split("`")[1] for line in table().splitlines()}
    assert names == set(MODELS), written.COMMAND
    kept = {path.stem for path in (written.SNAPSHOTS / "models").iterdir()}
    assert kept == set(MODELS), written.COMMAND
