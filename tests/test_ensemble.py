"""Runs that predict together: against the mean by hand, in predict and in evaluate."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg import checkpoint, command, ensemble, record
from jaxseg.data import Folder, Unit, ZScore
from jaxseg.data.images import read_mask
from jaxseg.ensemble import AsStored, Together, listed, merged, opened
from jaxseg.errors import UserError
from jaxseg.evaluate import _changed_all, evaluate
from jaxseg.evaluate import main as evaluate_main
from jaxseg.inference import probabilities
from jaxseg.metrics import Calibration, Confusion
from jaxseg.predict import main as predict_main
from jaxseg.predict import predict
from jaxseg.predictor import CaseResult
from jaxseg.score_key import key_of
from jaxseg.workdir import EXPERIMENT
from tests.made_run import draw, made_run

SIZES = [(20, 24), (17, 30)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of two validation cases of unlike sizes."""
    root = tmp_path_factory.mktemp("data")
    for split, sizes in (("train", SIZES[:1]), ("validation", SIZES)):
        for number, size in enumerate(sizes):
            mask = (draw(*size, seed=50 + number) > 128).astype(np.uint8)
            for kind, array in (("images", draw(*size, seed=number + len(split))), ("masks", mask)):
                (root / split / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / split / kind / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory, root):
    """Two runs that agree on nothing but their data: normalisation, window and weights differ."""
    folder, data = tmp_path_factory.mktemp("runs"), Folder(2, channels=1)
    metrics = ("dice", "case_dice", "ece")
    one = made_run(folder / "one", data, root=str(root), metrics=metrics)
    other = made_run(
        folder / "other", data, root=str(root), normalize=ZScore(), window=(8, 16), seed=2
    )
    return one, other


def shares(run, raw, **more):
    """The probabilities of a raw image by one run."""
    model, variables = checkpoint.load(run)
    experiment = record.read_json(run / EXPERIMENT)
    normalize = experiment.data.normalize
    image = normalize(raw, normalize.statistics(raw))[None]
    tiles = dataclasses.replace(experiment.evaluation.tiles, **more)
    return probabilities(model, variables, image, tiles=tiles)[0]


def mean_of(runs, raw):
    return sum(shares(run, raw) for run in runs) / len(runs)


def test_the_mean_of_probabilities_is_predicted(runs, tmp_path):
    raw = draw(20, 27)[..., None]
    Image.fromarray(raw[..., 0]).save(tmp_path / "a.png")
    (path,) = predict(runs, tmp_path / "a.png", tmp_path / "out", probabilities=True)
    expected = mean_of(runs, raw)
    given = np.load(tmp_path / "out" / "a_probabilities.npy")
    np.testing.assert_allclose(given, expected, atol=1e-6)
    np.testing.assert_array_equal(read_mask(path), given.argmax(-1))
    alone = [read_mask(predict(run, tmp_path / "a.png", tmp_path / run.name)[0]) for run in runs]
    assert all((read_mask(path) != one).any() for one in alone)


def test_a_run_beside_its_copy_predicts_as_alone(runs, tmp_path):
    shutil.copytree(runs[1], tmp_path / "copy")
    Image.fromarray(draw(20, 27)).save(tmp_path / "a.png")
    words = ["--input", tmp_path / "a.png", "--output", tmp_path / "both"]
    predict_main([str(w) for w in ("--workdir", runs[1], tmp_path / "copy", *words)])
    (alone,) = predict([runs[1]], tmp_path / "a.png", tmp_path / "alone")
    np.testing.assert_array_equal(read_mask(tmp_path / "both" / "a.png"), read_mask(alone))


def test_an_ensemble_is_scored_on_the_data_of_the_first_run(runs, root):
    first, other = runs
    before = evaluate(first)
    scores = evaluate(runs)
    images = [np.asarray(Image.open(root / f"validation/images/{n}.png")) for n in range(2)]
    masks = [read_mask(root / f"validation/masks/{n}.png").astype(np.int32) for n in range(2)]
    means = [mean_of(runs, image[..., None]) for image in images]
    labels = [mean.argmax(-1) for mean in means]
    matrices, counted = [], Calibration.zero().on_host()
    for label, mask, mean in zip(labels, masks, means, strict=True):
        matrices.append(np.bincount((2 * mask + label).ravel(), minlength=4).reshape(2, 2))
        counted = counted + Calibration.of(mean[None], mask[None])
    whole = Confusion(matrix=np.sum(matrices, 0))
    assert scores["dice"] == pytest.approx(whole.dice().mean())
    of_class_1 = [Confusion(matrix=m).dice()[1] for m in matrices]
    assert scores["case_dice"] == pytest.approx(np.mean(of_class_1))
    assert scores["ece"] == pytest.approx(counted.expected_error(), abs=1e-5)
    assert scores["dice"] != before["dice"]
    kept = json.loads((first / "evaluation.json").read_text())
    assert set(kept) == {"validation", f"validation with {other}"}
    assert kept["validation"]["dice"] == before["dice"]
    assert not (other / "evaluation.json").exists()
    assert [row["case"] for row in json.loads((first / scores["files"] / "cases.json").read_text())]


@pytest.mark.parametrize("tta", [None, True])
def test_flips_hold_for_every_run_where_they_are_asked_for(runs, tmp_path, monkeypatch, tta):
    seen = []

    def run(predictor, model, variables, rows, gives):
        seen.append((predictor.tiles.tta, predictor.tiles.window, gives))
        return {"probabilities": np.ones((*rows["image"].shape[:-1], 2), np.float32) / 2}

    monkeypatch.setattr("jaxseg.predict.run", run)
    Image.fromarray(draw(16, 16)).save(tmp_path / "a.png")
    predict(runs, tmp_path / "a.png", tmp_path / "out", tta=tta)
    gives = ("probabilities",)
    assert seen == [(bool(tta), (16, 16), gives), (bool(tta), (8, 16), gives)]


def renamed(run, folder, names):
    """A copy of a run with other names for its classes."""
    shutil.copytree(run, folder)
    chosen = record.read_json(run / EXPERIMENT)
    dataset = dataclasses.replace(chosen.data.dataset, class_names=names)
    data = dataclasses.replace(chosen.data, dataset=dataset)
    record.write_json(dataclasses.replace(chosen, data=data), folder / EXPERIMENT)
    return folder


def test_runs_that_do_not_fit_each_other_are_refused(runs, tmp_path, capsys):
    three = made_run(tmp_path / "three", Folder(3, channels=1))
    with pytest.raises(UserError, match=r"three: num_classes=3 and .*one has num_classes=2"):
        evaluate([runs[0], three])
    Image.fromarray(draw(16, 16)).save(tmp_path / "a.png")
    where = ("--input", tmp_path / "a.png", "--output", tmp_path / "out")
    words = ["--workdir", runs[0], three, *where]
    with pytest.raises(SystemExit) as ended:
        command.run(predict_main, [str(word) for word in words])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == 1 and "must agree on it" in lines[0]
    assert not (tmp_path / "out").exists()
    cells = renamed(runs[0], tmp_path / "cells", ("background", "cell"))
    nuclei = renamed(runs[0], tmp_path / "nuclei", ("background", "nucleus"))
    assert len(opened([runs[1], cells])) == 2  # a run that names no class fits any
    with pytest.raises(UserError, match="nuclei: class_names="):
        opened([cells, nuclei])


@pytest.mark.parametrize("other", [{"channels": 3}, {"channels": 1, "rank": 3}])
def test_channels_and_rank_must_agree(runs, tmp_path, other):
    chosen = record.read_json(runs[0] / EXPERIMENT)
    dataset = Folder(2, **other)
    there = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, dataset=dataset))
    with pytest.raises(UserError, match=list(other)[-1]):
        ensemble._agree(tmp_path, chosen, tmp_path, there)


def test_flips_of_any_run_stand_in_the_key(runs, tmp_path):
    flipped = shutil.copytree(runs[0], tmp_path / "flipped")
    chosen = record.read_json(flipped / EXPERIMENT)
    evaluation = dataclasses.replace(chosen.evaluation, tta=True)
    record.write_json(dataclasses.replace(chosen, evaluation=evaluation), flipped / EXPERIMENT)
    stored = opened([flipped, runs[1]])
    for tta, key in ((None, "test"), (True, "test tta"), (False, "test without tta")):
        given = _changed_all(stored, [flipped, runs[1]], (), tta)
        assert key_of("test", stored, given, ()) == key


def test_samples_of_dropout_stand_in_the_key(runs):
    stored, overrides = opened(runs[:1]), ("evaluation.dropout_samples=4",)
    given = _changed_all(stored, runs[:1], overrides, None)
    assert given[0].experiment.evaluation.tiles.dropout_samples == 4
    assert key_of("test", stored, given, overrides) == "test evaluation.dropout_samples=4"


def test_a_run_is_named_once_and_one_at_least(runs, capsys):
    with pytest.raises(UserError, match="named twice"):
        listed([runs[0], f"{runs[0]}/"])
    with pytest.raises(UserError, match="name the folder of a run"):
        listed([])
    with pytest.raises(SystemExit) as ended:
        command.run(evaluate_main, ["--workdir", "data.root=x"])
    assert ended.value.code == 2 and "name the folder of a run" in capsys.readouterr().err


def test_a_network_without_probabilities_joins_no_ensemble():
    label = np.zeros((4, 4), np.int32)
    with pytest.raises(UserError, match="gives no probabilities"):
        merged([CaseResult(label, np.ones((4, 4, 2), np.float32)), CaseResult(label)])


def test_an_ensemble_neither_trains_nor_is_exported(runs):
    recipe = Together(opened(runs))
    evaluation = record.read_json(runs[0] / EXPERIMENT).evaluation
    assert recipe.scheduled(3) == recipe and len(recipe.served) == 2
    with pytest.raises(UserError, match="not trained"):
        recipe.init(jax.random.key(0), None)
    with pytest.raises(UserError, match="not exported"):
        recipe.predictor(evaluation).exported(recipe.served, None, None)
    image = draw(4, 4, 1)
    assert AsStored()(image, None).dtype == np.uint8 and Unit()(image, None).max() <= 1
