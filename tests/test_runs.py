"""Runs that earlier versions wrote are loaded, scored and resumed."""

import json
import shutil

import numpy as np
import pytest

from jaxseg import checkpoint, record
from jaxseg.evaluate import evaluate
from jaxseg.train import train
from tests.write_run import RUNS

EVERY = sorted(path.name for path in RUNS.iterdir())


@pytest.mark.parametrize("name", EVERY)
def test_a_run_of_an_earlier_version_goes_on(name, tmp_path):
    run = shutil.copytree(RUNS / name, tmp_path / "run")
    wanted = json.loads((run / "scores.json").read_text())
    model, variables = checkpoint.load(run)
    image = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 16, 16, 1)
    logits = model.apply(variables, image, train=False).logits
    assert logits.shape == (1, 16, 16, 2) and np.isfinite(logits).all()
    scores = evaluate(run)
    for key, value in wanted.items():
        np.testing.assert_allclose(scores[key], value, rtol=1e-4, err_msg=key)
    summary = train(record.read_json(run / "experiment.json"), run, resume=True)
    assert summary["step"] == 4 and checkpoint.steps(run)[-1] == 4
