"""Runs that start from another run, and runs that no training made."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxseg import checkpoint, evaluate, export, init_from, record, train
from jaxseg.data import Unread
from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.experiment import InitFrom
from jaxseg.models import UNet
from jaxseg.overrides import overridden

NET = UNet(num_classes=2, encoder=Plain(widths=(4, 8)))


@pytest.fixture(scope="module")
def before(tiny_factory, tmp_path_factory):
    """A finished run of two steps."""
    workdir = tmp_path_factory.mktemp("before") / "run"
    train.train(tiny_factory(steps=2), workdir)
    return workdir


def state_of(experiment):
    batch = checkpoint.abstract_batch(experiment)
    return jax.jit(lambda: experiment.scheduled.init(jax.random.key(7), batch))()


def initialised(experiment, state):
    return init_from.put(experiment, state, init_from.taken(experiment, state))


def flat(tree):
    return {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree)}


def test_all_variables_of_a_run_are_taken(tiny, before):
    experiment = dataclasses.replace(tiny(ema=0.9), init_from={"model": str(before)})
    state = initialised(experiment, state_of(experiment))
    _, wanted = checkpoint.load(before)
    for part in (state.params, state.ema):
        jax.tree.map(np.testing.assert_array_equal, part, wanted["params"])
    jax.tree.map(np.testing.assert_array_equal, state.batch_stats, wanted["batch_stats"])
    assert state.step == 0
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(state.ema), strict=True):
        assert a is not b


def test_training_starts_there_and_says_what_was_taken(tiny, before, tmp_path, capsys):
    chosen = overridden(tiny(steps=1, every=1), [f"init_from.model={before}"])
    frozen = dataclasses.replace(chosen.recipe, rates=(("encoder", 0.0), ("decoder", 0.0)))
    train.train(dataclasses.replace(chosen, recipe=frozen), tmp_path)
    said = capsys.readouterr().out
    assert "init_from.model: " in said and "arrays taken" in said
    _, wanted = checkpoint.load(before)
    _, found = checkpoint.load(tmp_path)
    for part in ("encoder", "decoder"):
        for kind in ("params", "batch_stats"):
            jax.tree.map(np.testing.assert_array_equal, found[kind][part], wanted[kind][part])
    assert abs(found["params"]["head"]["kernel"] - wanted["params"]["head"]["kernel"]).max() > 0


def test_other_classes_and_channels_are_adapted_where_that_is_said(tiny, before):
    model = UNet(num_classes=3, encoder=Plain(widths=(4, 8)))
    given = {"fresh": ("head",), "channels": "cycle"}
    data = dataclasses.replace(tiny().data, dataset=Unread(num_classes=3, channels=3))
    experiment = dataclasses.replace(
        tiny(model=model), data=data, init_from={"model": InitFrom(run=str(before), **given)}
    )
    fresh = state_of(experiment)
    state = initialised(experiment, fresh)
    _, wanted = checkpoint.load(before)
    first = ["encoder", "level0_conv1", "conv", "kernel"]
    kernel, old = state.params, wanted["params"]
    for name in first:
        kernel, old = kernel[name], old[name]
    # one channel in each of three, so that the sum over channels stays
    np.testing.assert_allclose(kernel, np.repeat(old, 3, axis=-2) / 3, rtol=1e-6)
    np.testing.assert_array_equal(state.params["head"]["kernel"], fresh.params["head"]["kernel"])
    taken = init_from.taken(experiment, fresh)["model"]
    assert taken.adapted == ("params/encoder/level0_conv1/conv/kernel",)
    assert set(taken.fresh) == {"params/head/bias", "params/head/kernel"}
    assert "adapted: params/encoder/level0_conv1" in str(taken) and "fresh: " in str(taken)


@pytest.mark.parametrize("how", ["mean", "cycle"])
def test_adapted_channels_keep_the_answer_to_equal_channels(how):
    kernel = np.random.RandomState(0).standard_normal((3, 3, 3, 5))
    for channels in (1, 2, 4, 7):
        new = init_from._with_channels(kernel, (3, 3, channels, 5), how)
        if how == "mean" or channels % 3 == 0 or channels == 1:
            wanted = kernel.sum(2) if how == "mean" else new.sum(2)
            np.testing.assert_allclose(new.sum(2), wanted, rtol=1e-6)
    six = init_from._with_channels(kernel, (3, 3, 6, 5), "cycle")
    np.testing.assert_allclose(six[:, :, 3:], kernel / 2)


def test_all_misfits_are_in_one_error(tiny, before, tmp_path):
    model = UNet(num_classes=3, encoder=Plain(widths=(4, 12)))
    data = dataclasses.replace(tiny().data, dataset=Unread(num_classes=3, channels=1))
    experiment = dataclasses.replace(tiny(model=model), data=data, init_from={"model": str(before)})
    with pytest.raises(UserError) as caught:
        initialised(experiment, state_of(experiment))
    said = str(caught.value)
    assert (
        "params/decoder/level0_up/kernel is (2, 2, 8, 4) in" in said
        and "params/head/kernel" in said
        and said.endswith("; name in fresh=(...) what is to stay as drawn")
    )
    assert str(before) in said and "\n" not in said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "init_from.model: nowhere: no such run or file of weights"),
        (InitFrom(run="none.pth"), "init_from.model: none.pth: no such run or file of weights"),
        (InitFrom(run=""), "init_from.model.run='': must be a run or a file of weights"),
        (InitFrom(run="{before}", fresh=("haed",)), "no parameter lies at 'haed' here"),
        (InitFrom(run="{before}", into="backbone"), "no parameter lies at 'backbone' here"),
        (InitFrom(run="{before}", take="encoder"), "is absent in"),
        (InitFrom(run="{before}", step=99), "no step 99"),
    ],
)
def test_what_cannot_be_taken_is_refused_before_anything_is_written(
    tiny, before, tmp_path, source, said
):
    if isinstance(source, InitFrom):
        source = dataclasses.replace(source, run=source.run.format(before=before))
    experiment = dataclasses.replace(tiny(), init_from={"model": source})
    with pytest.raises(UserError, match=said):
        train.train(experiment, tmp_path / "run")
    assert not (tmp_path / "run" / "experiment.json").exists()


def test_a_network_that_the_recipe_lacks_is_refused(tiny, before, tmp_path):
    experiment = dataclasses.replace(tiny(), init_from={"teacher": str(before)})
    with pytest.raises(UserError, match="no network 'teacher'; it has model"):
        train.train(experiment, tmp_path / "run")


def test_a_part_of_one_network_goes_into_a_part_of_another(tiny, before):
    given = InitFrom(run=str(before), take="encoder", into="encoder")
    model = UNet(num_classes=2, encoder=Plain(widths=(4, 8)), upsample="nearest")
    experiment = dataclasses.replace(tiny(model=model), init_from={"model": given})
    state = initialised(experiment, state_of(experiment))
    _, wanted = checkpoint.load(before)
    jax.tree.map(
        np.testing.assert_array_equal, state.params["encoder"], wanted["params"]["encoder"]
    )


def test_a_run_of_no_steps_is_a_run(tiny, tmp_path):
    experiment = tiny(model=NET, steps=2)
    image = np.zeros((1, 16, 16, 1), np.float32)
    variables = NET.init(jax.random.key(3), image, train=False)
    run = tmp_path / "imported"
    init_from.write_run(run, experiment, variables)
    model, loaded = checkpoint.load(run)
    assert model == NET
    jax.tree.map(np.testing.assert_array_equal, loaded, dict(variables))
    assert evaluate.evaluate(run)["step"] == 0
    export.export(run, tmp_path / "m.stablehlo", platforms=["cpu"])
    assert train.train(experiment, run, resume=True)["step"] == 2
    with pytest.raises(UserError, match="holds a run"):
        init_from.write_run(run, experiment, variables)


def test_variables_of_another_network_are_not_written(tiny, tmp_path):
    other = UNet(num_classes=2, encoder=Plain(widths=(4, 6)))
    image = np.zeros((1, 16, 16, 1), np.float32)
    variables = other.init(jax.random.key(3), image, train=False)
    with pytest.raises(UserError, match="the variables do not fit: .* here"):
        init_from.write_run(tmp_path / "run", tiny(model=NET), variables)
    assert not (tmp_path / "run" / "experiment.json").exists()


def test_an_imported_run_reads_no_data_until_it_is_told_which(tiny, tmp_path):
    data = dataclasses.replace(tiny().data, dataset=Unread(num_classes=2, channels=1))
    experiment = dataclasses.replace(tiny(model=NET), data=data)
    image = np.zeros((1, 16, 16, 1), np.float32)
    init_from.write_run(
        tmp_path / "run", experiment, NET.init(jax.random.key(3), image, train=False)
    )
    with pytest.raises(UserError, match="this run was imported and reads no data"):
        evaluate.evaluate(tmp_path / "run")
    tree = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert tree["data"]["dataset"]["class"] == "data.Unread"
    assert record.read_json(tmp_path / "run" / "experiment.json") == experiment
