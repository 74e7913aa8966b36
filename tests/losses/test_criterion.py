"""The validation loss: by hand, and as a run writes it."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxseg import checkpoint
from jaxseg.losses import CrossEntropy, Dice, Ramp
from jaxseg.losses.criterion import Criterion
from jaxseg.metrics import Confusion, Evaluated
from jaxseg.train import train
from jaxseg.types import IGNORE


def test_it_is_the_weighted_sum_and_a_ramp_counts_with_its_end():
    logits = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("f4")
    label = np.random.default_rng(1).integers(-1, 3, (2, 4, 4)).astype("i4")
    terms = CrossEntropy(weight=0.5), Dice(weight=Ramp(0.0, 2.0, 10))
    wanted = 0.5 * terms[0](logits, label) + 2.0 * terms[1](logits, label)
    np.testing.assert_allclose(Criterion(terms)(logits, label), wanted, rtol=1e-6)


def test_a_case_without_a_pixel_that_counts_is_in_no_mean():
    matrices = np.stack([np.eye(2, dtype=int), np.zeros((2, 2), int), 3 * np.eye(2, dtype=int)])
    confusion = Confusion(matrix=matrices.sum(0))
    found = Evaluated(confusion, ("dice",), {}, matrices, losses=(1.0, 0.0, 2.0)).scores()
    assert found["loss"] == 1.5
    assert (
        "loss" not in Evaluated(confusion, ("dice",), {}, matrices, losses=(np.nan,) * 3).scores()
    )


@pytest.mark.parametrize("window", [None, (16, 16)])
def test_a_run_writes_the_loss_of_the_whole_images(tiny, tmp_path, window):
    made = tiny(steps=2)
    made = dataclasses.replace(
        made, evaluation=dataclasses.replace(made.evaluation, window=window, loss=True)
    )
    train(made, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    (written,) = [line["validation/loss"] for line in lines if "validation/loss" in line]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["validation"]["loss"] == pytest.approx(written)
    if window is not None:
        return
    model, variables = checkpoint.load(tmp_path / "run")
    losses = []
    for case in (made.data.cases("validation")[n] for n in range(3)):
        logits = model.apply(variables, case["image"][None], train=False).logits
        label = case["label"][None]
        assert (label != IGNORE).all()
        picked = np.take_along_axis(jax.nn.log_softmax(logits), label[..., None], -1)
        dice = Dice()(logits, label)
        losses.append(-picked.mean() + float(dice[0]))
    assert written == pytest.approx(np.mean(losses), abs=1e-4)
