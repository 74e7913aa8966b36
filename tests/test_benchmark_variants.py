"""Variants trained alike: their sizes match, a run that was cut off goes on, seeds are averaged."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks are not installed

from benchmarks import variants  # noqa: E402
from benchmarks.variants import SIZES, SMALL, Size, experiment, main  # noqa: E402
from jaxseg import cost  # noqa: E402
from jaxseg.encoders import Plain  # noqa: E402
from jaxseg.experiment import check  # noqa: E402
from jaxseg.models import create  # noqa: E402


@pytest.mark.parametrize("name", SMALL)
def test_small_forms_cost_alike(name):
    model = create(name, num_classes=2, **SMALL[name])
    counts = cost.counted(model, jax.ShapeDtypeStruct((1, 128, 128, 1), jnp.float32))
    assert 0.6e9 < counts["macs"] < 0.9e9


@pytest.mark.parametrize("preset", SIZES)
@pytest.mark.parametrize("dataset", variants.CONFIGS)
def test_networks_differ_in_the_model_alone(preset, dataset):
    ours = [experiment(name, dataset, "x", preset, 3) for name in ("unet", "segnet")]
    a, b = (json.dumps(str(e).replace(str(e.recipe.model), "")) for e in ours)
    assert a == b and ours[0].seed == 3
    check(ours[0])


def test_a_row_is_one_training(capsys, monkeypatch):
    monkeypatch.setitem(SMALL, "unet", {"encoder": Plain((2, 4))})
    monkeypatch.setitem(SIZES, "smoke", Size(edge=16, steps=2, batch=8))  # a row a device
    (row,) = main(["--preset", "smoke", "--isbi2012", "x", "--one", "unet", "isbi2012", "1"])
    assert {"network": "unet", "dataset": "isbi2012", "seed": 1, "steps": 2}.items() <= row.items()
    assert 0 <= row["dice"] <= 1 and row["step_gib"] > 0 and row["parameters"] > 0
    assert row["images_per_second"] is None and "error" not in row  # two steps: no pace yet


def test_an_impossible_network_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setitem(SMALL, "unet", {"encoder": Plain(())})
    (row,) = main(["--preset", "smoke", "--isbi2012", "x", "--one", "unet", "isbi2012", "1"])
    assert "dice" not in row and row["error"]


def test_a_run_goes_on_and_averages_seeds(tmp_path):
    asked = []

    def run(arguments):
        network, dataset, seed = arguments[-3:]
        asked.append((network, dataset, int(seed)))
        if network == "segnet":
            return {"error": "MemoryError: none"}
        score = {"0": 0.7, "1": 0.9}[seed]
        costs = {"parameters": 2_000_000, "macs": 10**9, "images_per_second": 3.0, "step_gib": 0.1}
        return {"dice": score, **costs}

    where = ["--isbi2012", "x", "--output", str(tmp_path / "rows.jsonl")]
    main([*where, "--only", "unet", "--seeds", "0"], run)
    plotted = tmp_path / "variants.png"
    both = main(
        [*where, "--only", "unet", "segnet", "--seeds", "0", "1", "--plot", str(plotted)], run
    )
    unet, segnet = both
    assert asked.count(("unet", "isbi2012", 0)) == 1  # the second run found it in the file
    assert unet["isbi2012_dice"] == pytest.approx(0.8)
    assert unet["isbi2012_spread"] == pytest.approx(0.2 / 2**0.5)
    assert (unet["parameters_m"], unet["gmacs"]) == (2.0, 1.0)
    assert segnet["error"] == "isbi2012: MemoryError: none"
    assert plotted.is_file()
    main([*where, "--only", "segnet", "--seeds", "0"], run)
    assert asked.count(("segnet", "isbi2012", 0)) == 2  # what failed is tried again


def test_without_a_data_set_nothing_is_run(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--output", str(tmp_path / "rows.jsonl")])
    assert ended.value.code == 2 and "--isbi2012 or --dsb2018" in capsys.readouterr().err
