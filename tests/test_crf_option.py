"""The dense CRF in evaluate, predict and export, over the colours of the image as stored."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg import evaluate, export, predict, record
from jaxseg.crf import DenseCRF
from jaxseg.crf_option import crf_of
from jaxseg.data import Hippocampus, Synthetic, ZScore
from jaxseg.errors import UserError
from jaxseg.experiment import check
from jaxseg.predictor import Segment
from tests.made_run import draw, made_run

CRF = DenseCRF(iterations=2, far=8.0, colour=40.0, weight=20.0, kernel="exact")
TYPED = "DenseCRF(iterations=2, far=8.0, colour=40.0, weight=20.0, kernel='exact')"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    dataset = Synthetic(size=(32, 32), count=(2, 2, 2), radius=(3.0, 5.0))
    return made_run(tmp_path_factory.mktemp("crf") / "run", dataset, loss=False)


def probabilities(run, image, folder, **how):
    Image.fromarray(image).save(folder / "image.png")
    predict.predict(run, folder / "image.png", folder / "out", probabilities=True, **how)
    return np.load(folder / "out" / "image_probabilities.npy")


def test_predict_and_export_go_over_what_the_network_says(run, tmp_path):
    image = draw(16, 16)
    plain = probabilities(run, image, tmp_path)
    ours = probabilities(run, image, tmp_path, crf=CRF, overwrite=True)
    logits = np.log(plain)[None].astype("f4")
    colours = image[None, :, :, None].astype("f4")
    known = jax.nn.softmax(jax.jit(CRF)(logits, colours))[0]
    np.testing.assert_allclose(ours, known, atol=1e-5)
    assert abs(ours - plain).max() > 0.01
    artifact = export.export(run, tmp_path / "a", crf=CRF, platforms=("cpu",))
    call = jax.export.deserialize(bytearray(artifact.path.read_bytes())).call
    np.testing.assert_allclose(call(colours / 255)[0], known, atol=1e-5)


def test_an_artifact_says_of_which_colours_its_crf_is(tmp_path):
    dataset = Synthetic(size=(32, 32), count=(2, 2, 2), radius=(3.0, 5.0))
    run = made_run(tmp_path / "run", dataset, normalize=ZScore(), loss=False)
    written = export.export(run, tmp_path / "a", crf=CRF, platforms=("cpu",))
    assert "colours of 0 to 255" in written.notes
    assert "colours" not in export.export(run, tmp_path / "b", platforms=("cpu",)).notes


def test_pixels_that_fill_the_bucket_say_nothing(run, tmp_path):
    image = draw(21, 27)  # padded to 32 x 32 for windows of 16
    plain = probabilities(run, image, tmp_path)
    ours = probabilities(run, image, tmp_path, crf=CRF, overwrite=True)
    logits = np.log(plain)[None].astype("f4")
    known = jax.nn.softmax(jax.jit(CRF)(logits, image[None, :, :, None].astype("f4")))[0]
    np.testing.assert_allclose(ours, known, atol=1e-4)


def test_evaluate_takes_it_as_an_override_and_says_so(run):
    evaluate.main(["--workdir", str(run), f"evaluation.crf={TYPED}"])
    evaluate.main(["--workdir", str(run)])
    scores = json.loads((run / "evaluation.json").read_text())
    key = f"validation evaluation.crf={TYPED}"
    assert set(scores) == {key, "validation"}
    assert scores[key]["dice"] != scores["validation"]["dice"]


def test_an_experiment_holds_it(run):
    experiment = record.read_json(run / "experiment.json")
    evaluation = dataclasses.replace(experiment.evaluation, crf=CRF)
    experiment = dataclasses.replace(experiment, evaluation=evaluation)
    assert record.from_json(record.to_json(experiment)) == experiment
    predictor = experiment.recipe.predictor(evaluation)
    assert isinstance(predictor, Segment) and predictor.crf == CRF
    data = dataclasses.replace(experiment.data, dataset=Hippocampus(), patch=None)
    model = experiment.recipe.model.clone(num_classes=3)
    recipe = dataclasses.replace(experiment.recipe, model=model)
    volume = dataclasses.replace(experiment, data=data, recipe=recipe)
    with pytest.raises(UserError, match="crf: is of 2-D images, and these have 3 axes"):
        check(volume)


def test_what_is_typed_is_read_or_refused():
    assert crf_of(None) is None
    assert crf_of("DenseCRF()") == DenseCRF()
    assert crf_of(TYPED) == CRF
    with pytest.raises(UserError, match=r"--crf DenseCRF\(far=-1.0\)"):
        crf_of("DenseCRF(far=-1.0)")
    with pytest.raises(UserError, match="--crf Dice"):
        crf_of("Dice()")
