"""A pruned network is a run of its own, which every command takes."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg import checkpoint, command, init_from, predict, record
from jaxseg.compress import compress, main
from jaxseg.encoders import DenseNet, Plain
from jaxseg.errors import UserError
from jaxseg.evaluate import evaluate
from jaxseg.export import export
from jaxseg.losses import CrossEntropy, DeepSupervision
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.train import train

MODEL = UNetPlusPlus(2, encoder=Plain((4, 4, 6)), width=4, mode="ensemble")
SUPERVISED = DeepSupervision(weights=(1.0, 1.0), normalise=False)
LOSSES = {"cross_entropy": CrossEntropy()}


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_factory):
    """A run of two levels that was never trained."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    experiment = tiny_factory(
        model=MODEL, steps=1, every=1, supervision=SUPERVISED, losses=LOSSES, augment=None, ema=0.9
    )
    x = np.zeros((1, 16, 16, 1), np.float32)
    variables = jax.jit(lambda: MODEL.init(jax.random.key(2), x, train=False))()
    init_from.write_run(folder, experiment, variables)
    return folder


@pytest.fixture(scope="module")
def small(run):
    """Its first level, as the command writes it."""
    output = run.parent / "small"
    main(["--workdir", str(run), "--output", str(output), "--method", "level", "--level", "1"])
    return output


def test_it_says_what_is_left(run, small, capsys, tmp_path):
    arguments = ["--workdir", str(run), "--method", "level", "--level", "2"]
    main([*arguments, "--output", str(tmp_path / "other")])
    said = capsys.readouterr().out
    sizes = [n.size for n in jax.tree.leaves(checkpoint.load(tmp_path / "other")[1]["params"])]
    whole = [n.size for n in jax.tree.leaves(checkpoint.load(run)[1]["params"])]
    assert sum(sizes) < sum(whole)  # without the head of level 1
    assert f"{sum(sizes):,} parameters, " in said and f" of {sum(whole):,}\n" in said


def test_its_output_is_that_of_its_head_in_the_whole_network(run, small):
    whole, variables = checkpoint.load(run)
    x = np.random.RandomState(0).standard_normal((1, 21, 30, 1)).astype("f4")
    whole = whole.clone(mode="supervised")
    known = jax.jit(lambda: whole.apply(variables, x, train=False))().auxiliary[0]
    model, kept = checkpoint.load(small)
    assert (model.level, model.mode) == (1, "single")
    ours = jax.jit(lambda: model.apply(kept, x, train=False))().logits
    np.testing.assert_array_equal(ours, known)


def test_a_network_on_a_densenet_is_made_smaller_too(tmp_path, tiny):
    encoder = DenseNet((1, 2), growth=2, width=4, bottleneck=2)
    model = UNetPlusPlus(2, encoder=encoder, width=4, mode="supervised")
    supervision = DeepSupervision(weights=(1.0, 1.0, 1.0), normalise=False)
    experiment = tiny(model=model, supervision=supervision, losses=LOSSES, augment=None)
    x = np.random.RandomState(0).standard_normal((1, 21, 30, 1)).astype("f4")

    @jax.jit
    def whole():
        return model.init_with_output(jax.random.key(2), x, train=False)

    prediction, variables = whole()
    init_from.write_run(tmp_path / "run", experiment, variables)
    compress(tmp_path / "run", tmp_path / "small", method="level", level=2)
    small, kept = checkpoint.load(tmp_path / "small")
    assert {"block1", "transition1_norm"} < set(kept["params"]["encoder"])
    assert "block2" not in kept["params"]["encoder"]
    ours = jax.jit(lambda: small.apply(kept, x, train=False))().logits
    np.testing.assert_allclose(ours, prediction.auxiliary[0], rtol=0, atol=1e-5)


def test_evaluate_predict_and_export_take_it(small, tmp_path):
    scores = evaluate(small)
    assert 0 <= scores["dice"] <= 1 and scores["cases"] == 3
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(tmp_path / "image.png")
    labels = predict.predict(small, tmp_path / "image.png", tmp_path / "out")
    with Image.open(labels[0]) as predicted:
        assert predicted.size == (24, 20)
    assert export(small, tmp_path / "a.stablehlo", platforms=("cpu",)).size > 0


def test_another_run_starts_from_it(small, tmp_path):
    experiment = record.read_json(small / "experiment.json")
    assert experiment.recipe.supervision == DeepSupervision()
    experiment = dataclasses.replace(experiment, init_from={"model": str(small)})
    train(experiment, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert any("dice" in json.loads(line) or "loss" in json.loads(line) for line in lines)


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"level": 3}, "level 3: UNetPlusPlus has a head at level 1, 2"),
        ({"level": None}, "--method level: needs --level"),
        ({"method": "magnitude"}, "--method magnitude: must be among level"),
        ({"output": "run"}, "run: holds a run; name another"),
        ({"output": "file"}, "file: a file; name another"),
        ({"step": 9}, "no step 9"),
    ],
)
def test_what_cannot_be_made_smaller_is_one_line(run, how, what):
    (run.parent / "file").touch()
    how = {"method": "level", "level": 1, "output": "absent"} | how
    with pytest.raises(UserError, match=what):
        compress(run, run.parent / how.pop("output"), **how)
    assert not (run.parent / "absent").exists()


def test_a_network_without_levels_is_one_line_and_exit_code_2(tmp_path, tiny, capsys):
    experiment = tiny(losses=LOSSES)
    x = np.zeros((1, 16, 16, 1), np.float32)
    init = experiment.recipe.model.init
    variables = jax.jit(lambda: init(jax.random.key(0), x, train=False))()
    init_from.write_run(tmp_path / "unet", experiment, variables)
    arguments = ["--workdir", str(tmp_path / "unet"), "--output", str(tmp_path / "v")]
    with pytest.raises(SystemExit) as end:
        command.run(main, [*arguments, "--method", "level", "--level", "1"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert f"{tmp_path / 'unet'}: UNet has no levels to prune" in said
    assert not (tmp_path / "v").exists()
