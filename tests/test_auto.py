"""A run with `Auto`: fitted once, kept, and the same wherever the run is used."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxseg import checkpoint
from jaxseg.data import Auto, Data, Stream, Synthetic
from jaxseg.evaluate import evaluate
from jaxseg.train import train
from tests.test_checkpoint import trees_equal


@dataclasses.dataclass(frozen=True)
class Camera:
    """Generated nuclei as a camera of 12 bits writes them; ``gain`` 1 reaches the full scale."""

    num_classes, class_names, channels, rank = 2, ("background", "nucleus"), 1, 2

    gain: float = 1.0
    more: int = 0

    def open(self, root, split):
        del root
        source = Synthetic(size=(32, 32), count=(8 + self.more, 3, 3), radius=(3.0, 5.0))
        cases = source.open("", split)
        full = 4095 / 255 * self.gain
        return [
            {**cases[n], "image": (cases[n]["image"] * full).astype(np.uint16)}
            for n in range(len(cases))
        ]


def experiment(tiny, **fields):
    data = Data(dataset=Camera(), patch=(16, 16), normalize=Auto())
    return dataclasses.replace(tiny(data=data, steps=4), **fields)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_factory):
    workdir = tmp_path_factory.mktemp("auto") / "run"
    train(experiment(tiny_factory), workdir)
    return workdir


def test_the_run_keeps_what_the_training_split_gave(run):
    kept = json.loads((run / "experiment.json").read_text())["data"]["normalize"]
    found = experiment_of(run).data.normalize
    assert found == Data(Camera(), normalize=Auto()).fitted().normalize
    assert kept["high"] == list(found.high) and 1000 < found.high[0] < 4096
    model, variables = checkpoint.load(run, classes=[Camera])
    assert model.num_classes == 2 and variables["params"]
    scores = evaluate(run, "test", overrides=["data.dataset.gain=0.5"], classes=[Camera])
    assert experiment_of(run).data.normalize == found  # of the run, and not of the other data
    assert set(scores) >= {"dice", "iou"}


def experiment_of(workdir):
    return checkpoint.opened(workdir, classes=[Camera]).experiment


def test_a_run_that_goes_on_keeps_it_though_the_split_has_grown(run, tiny, tmp_path):
    """Bit for bit the run that was not interrupted."""
    whole = checkpoint.load(run, 4, classes=[Camera])[1]
    train(experiment(tiny), tmp_path / "two", until=2)
    train(experiment(tiny), tmp_path / "two", resume=True)
    assert trees_equal(checkpoint.load(tmp_path / "two", 4, classes=[Camera])[1], whole)


def test_the_artifact_takes_raw_images(run, tmp_path):
    from jaxseg.export import export

    artifact = export(run, tmp_path / "m", classes=[Camera], platforms=["cpu"])
    assert "it clips and scales them as the training images" in str(artifact)
    case = Camera().open("", "test")[0]
    model, variables = checkpoint.load(run, classes=[Camera])
    image = experiment_of(run).data.image(case["image"], name="case")
    wanted = jax.nn.softmax(model.apply(variables, image[None], train=False).logits)
    given = jax.export.deserialize(bytearray(artifact.path.read_bytes())).call(
        case["image"][None].astype("f4")
    )
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_a_stream_is_fitted_to_its_own_images(tiny, tmp_path):
    dim = Data(dataset=Camera(gain=0.1), patch=(16, 16), normalize=Auto())
    given = experiment(tiny, streams={"dim": Stream(data=dim)}, steps=2)
    train(given, tmp_path / "run")
    found = experiment_of(tmp_path / "run")
    assert found.streams["dim"].data.normalize.high[0] < found.data.normalize.high[0] / 5
    train(dataclasses.replace(given, steps=3), tmp_path / "run", resume=True)
