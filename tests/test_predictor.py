"""Evaluate, predict and export are one path: for maps of classes, and for a network of objects."""

import dataclasses
import json
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

from jaxseg import checkpoint, evaluate, export, predict, train
from jaxseg.data import Data, Synthetic
from jaxseg.errors import UserError
from jaxseg.evaluator import Evaluator
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.inference import probabilities
from jaxseg.layers import ConvNorm, Head
from jaxseg.metrics import Confusion, Found, painted
from jaxseg.predictor import CaseResult, Predictor, Segment, bounded, run
from jaxseg.recipes import Supervised
from jaxseg.sharding import MeshShape
from jaxseg.tiles import Tiles
from jaxseg.types import Objects, Prediction

ONE = MeshShape(data=1)


class Finder(nn.Module):
    """Finds one object an image: all that is bright. In training, maps of classes."""

    num_classes: int = 2
    dtype: str = "float32"
    stride: int = 1

    @nn.compact
    def __call__(self, image, *, train: bool):
        x = ConvNorm(4, name="look")(jnp.asarray(image, self.dtype), train=train)
        logits = Head(self.num_classes, name="head")(x)
        if train:
            return Prediction(logits)
        b, h, w, _ = image.shape
        boxes = jnp.broadcast_to(jnp.asarray([0.0, 0.0, h, w]), (b, 1, 4))
        masks = image[:, None, :, :, 0]
        return Objects(boxes, jnp.ones((b, 1), jnp.int32), masks, masks.max((2, 3)))


@dataclass(frozen=True)
class Boxes:
    """Images as they are, to objects."""

    threshold: float = 0.4

    def size(self, model, case):
        return case["image"].shape[:-1]

    def prepare(self, model, case):
        return {"image": np.asarray(case["image"], np.float32)}

    def apply(self, model, variables, rows, gives):
        found = model.apply(variables, rows["image"], train=False)
        return {name: x for name, x in found._asdict().items() if x is not None}

    def result(self, given, case):
        found = tuple(
            Found(0, int(k), mask > self.threshold, float(score))
            for k, mask, score in zip(
                given["classes"], given["masks"], given["scores"], strict=True
            )
        )
        background = np.zeros(case["image"].shape[:-1], np.int32)
        return CaseResult(painted(found, background).classes, objects=found)

    def exported(self, model, variables, data):
        def objects(image):
            return self.apply(model, variables, {"image": data.normalize.on_device(image)}, ())

        return objects


@dataclass(frozen=True)
class Finding(Supervised):
    """Training as ever; served by boxes."""

    def predictor(self, evaluation):
        return Boxes()


def experiment(recipe, **evaluation):
    data = Data(dataset=Synthetic(size=(24, 32), count=(4, 3, 3), radius=(3.0, 5.0)))
    return Experiment(
        recipe=recipe,
        data=data,
        steps=1,
        batch_size=2,
        evaluation=Evaluation(every=1, **evaluation),
        checkpoint=Checkpoints(every=1),
        mesh=ONE,
    )


CLASSES = [Finder, Finding]


def test_a_network_of_objects_is_scored_predicted_and_exported(tmp_path):
    chosen = experiment(Finding(Finder()), metrics=("dice", "coco_ap", "ap50"))
    summary = train.train(chosen, tmp_path / "run")
    assert 0 <= summary["validation"]["coco_ap"] <= 1
    scores = evaluate.evaluate(tmp_path / "run", classes=CLASSES)
    assert scores["dice"] == pytest.approx(summary["validation"]["dice"])

    case = chosen.data.cases("validation")[0]
    Image.fromarray(np.round(255 * case["image"][..., 0]).astype(np.uint8)).save(tmp_path / "a.png")
    files = predict.each(tmp_path / "run", tmp_path / "a.png", tmp_path / "out", classes=CLASSES)
    paths = [path.name for one in files for path in one.paths]
    assert paths == ["a.png", "a_instances.png"]
    bright = (case["image"][..., 0] > 0.4).astype(int)
    for name in paths:
        with Image.open(tmp_path / "out" / name) as image:
            np.testing.assert_array_equal(np.asarray(image), bright)

    where = tmp_path / "m.jax"
    artifact = export.export(tmp_path / "run", where, platforms=["cpu"], classes=CLASSES)
    assert "boxes" in str(artifact) and "[b, 1, 4]" in str(artifact)
    given = jax_export.deserialize(bytearray(where.read_bytes())).call(case["image"][None])
    np.testing.assert_allclose(given["masks"][0, 0], case["image"][..., 0], atol=1e-6)


def test_windows_over_a_network_of_objects_end_in_one_line_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="Finder returns Objects .* predictor of its own"):
        train.train(experiment(Supervised(Finder())), tmp_path / "run")
    assert not (tmp_path / "run" / "experiment.json").exists()


def test_a_segment_is_a_predictor_that_can_be_static():
    assert isinstance(Segment(), Predictor) and isinstance(Boxes(), Predictor)
    assert hash(Segment(Tiles(window=(8, 8)))) == hash(Segment(Tiles(window=(8, 8))))


@pytest.mark.parametrize("window", [None, (16, 16)])
def test_a_result_lies_in_the_grid_of_its_case_and_counts_what_it_shows(tiny, window):
    model = tiny().recipe.served
    image = np.random.RandomState(0).uniform(size=(21, 26, 1)).astype("f4")
    label = np.random.RandomState(1).randint(-1, 2, (21, 26)).astype("i4")
    variables = model.init(jax.random.key(0), image[None], train=False)
    predictor = Segment(Tiles(window=window))
    case = {"image": image, "label": label}
    rows = {name: x[None] for name, x in predictor.prepare(model, case).items()}
    gives = ("labels", "probabilities", "confusion", "calibration")
    given = jax.device_get(run(predictor, model, variables, rows, gives))
    result = predictor.result(jax.tree.map(lambda x: x[0], given), case)
    shares = probabilities(model, variables, image[None], tiles=predictor.tiles)[0]
    np.testing.assert_allclose(result.probabilities, shares, atol=1e-6)
    np.testing.assert_array_equal(result.labels, shares.argmax(-1))
    wanted = Confusion.of(result.labels[None], label[None], 2).matrix
    np.testing.assert_array_equal(result.counts["confusion"], wanted)
    pixels, right, confidence = result.counts["calibration"]
    counted = label >= 0
    assert pixels.sum() == counted.sum() and right.sum() == (result.labels == label)[counted].sum()
    np.testing.assert_allclose(confidence.sum(), shares.max(-1)[counted].sum(), rtol=1e-5)


def test_only_what_is_wanted_leaves_the_device(tiny):
    model = tiny().recipe.served
    image = jnp.zeros((1, 16, 16, 1))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    rows = {"image": image, "size": jnp.asarray([[16, 16]]), "label": jnp.zeros((1, 16, 16), int)}
    for gives in ((), ("labels",), ("confusion",), ("probabilities", "labels")):
        given = jax.eval_shape(lambda v, g=gives: Segment().apply(model, v, rows, g), variables)
        assert set(given) == set(gives)


def test_large_images_are_cut_only_where_the_predictor_cuts_any():
    model, shape = Finder(), (2000, 2000)
    assert bounded(Segment(), model, shape, None).tiles.window == (512, 512)
    assert bounded(Segment(), model, (100, 100), None) == Segment()
    assert bounded(Boxes(), model, shape, None) == Boxes()


def test_a_side_input_of_rows_reaches_every_window_and_a_map_is_refused(tiny):
    class Shifted(nn.Module):
        num_classes: int = 2
        stride: int = 1
        dtype: str = "float32"
        inputs = ("domain",)

        @nn.compact
        def __call__(self, image, *, train, domain=None):
            shift = jnp.where(domain == 1, 1.0, -1.0).reshape(-1, 1, 1, 1)
            return Prediction(jnp.concatenate([0 * image, shift + 0 * image], -1))

    image = np.zeros((20, 9, 1), np.float32)
    predictor = Segment(Tiles(window=(8, 8), window_batch=3))
    cases = [{"image": image, "domain": np.int32(domain)} for domain in (0, 1)]
    padded = [predictor.prepare(Shifted(), case) for case in cases]
    rows = {name: np.stack([row[name] for row in padded]) for name in padded[0]}
    labels = run(predictor, Shifted(), {}, rows, ("labels",))["labels"]
    assert not labels[0][:20, :9].any() and labels[1][:20, :9].all()
    mapped = dataclasses.replace(Shifted())
    object.__setattr__(mapped, "inputs", ("weight",))
    with pytest.raises(UserError, match="'weight', which cannot be cut into windows"):
        predictor.prepare(mapped, cases[0])


def test_a_case_that_cannot_be_predicted_is_said_by_the_evaluator(tiny):
    class Broken(nn.Module):
        num_classes: int = 2
        stride: int = 1
        dtype: str = "float32"

        @nn.compact
        def __call__(self, image, *, train):
            if not train:
                raise ValueError("no inference here")
            return Prediction(nn.Conv(2, (1, 1), name="head")(image))

    chosen = tiny(model=Broken())
    evaluator = Evaluator(chosen, ONE.build())
    with pytest.raises(UserError, match="cannot be evaluated: ValueError: no inference here"):
        evaluator.check({"params": {}})


def test_evaluations_of_two_roots_stand_side_by_side(tiny, tmp_path):
    train.train(tiny(steps=1, every=1), tmp_path / "run")
    evaluate.evaluate(tmp_path / "run")
    evaluate.evaluate(tmp_path / "run", overrides=["data.root=elsewhere"])
    kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert set(kept) == {"validation", "validation elsewhere"}
    assert checkpoint.steps(tmp_path / "run") == [1]


def test_scores_of_other_data_do_not_pass_for_those_of_the_run(tiny, tmp_path):
    train.train(tiny(steps=1, every=1), tmp_path / "run")
    evaluate.evaluate(tmp_path / "run", overrides=["data.cache=none"])
    evaluate.evaluate(tmp_path / "run", overrides=["data.dataset.seed=1", "data.cache=none"])
    kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert set(kept) == {"validation", "validation data.dataset.seed=1 data.cache=none"}


@dataclass(frozen=True)
class Twice:
    """A transform of cases."""

    def __call__(self, case):
        return case | {"image": 2 * case["image"]}


def test_what_was_done_to_cases_alone_is_said_where_it_is_not_done(tiny, tmp_path, caplog):
    chosen = tiny(steps=1, every=1)
    chosen = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, prepare=(Twice(),)))
    train.train(chosen, tmp_path / "run")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "a.png")
    predict.predict(tmp_path / "run", tmp_path / "a.png", tmp_path / "out", classes=[Twice])
    assert "data.prepare=(Twice(),) was applied to the cases of the run" in caplog.text
    where = tmp_path / "m.jax"
    artifact = export.export(tmp_path / "run", where, platforms=["cpu"], classes=[Twice])
    assert "prepared as data.prepare=(Twice(),)" in artifact.notes


@dataclass(frozen=True)
class Halves(Boxes):
    """The left and the right half of every image: two objects that touch."""

    def result(self, given, case):
        left = np.zeros(case["image"].shape[:-1], bool)
        left[:, : left.shape[1] // 2] = True
        found = tuple(Found(0, 1, mask, 0.9) for mask in (left, ~left))
        return CaseResult(painted(found, np.zeros(left.shape, np.int32)).classes, objects=found)


@dataclass(frozen=True)
class Split:
    """Cases whose objects are the halves."""

    num_classes = 2
    class_names = ()
    channels = 1
    rank = 2

    def open(self, root, split):
        numbers = np.repeat(np.array([[1] * 8 + [2] * 8], np.int32), 16, axis=0)
        case = {"image": np.zeros((16, 16, 1), np.uint8), "label": np.minimum(numbers, 1)}
        return [case | {"instance": numbers, "name": f"{split}{n}"} for n in range(3)]


@dataclass(frozen=True)
class Halving(Supervised):
    """Served by halves."""

    def predictor(self, evaluation):
        return Halves()


@pytest.mark.parametrize("score", ["ap50", "pq", "aji", "coco_ap"])
def test_objects_that_touch_are_scored_as_the_network_gives_them(score):
    chosen = experiment(Halving(Finder()), metrics=(score,))
    chosen = dataclasses.replace(chosen, data=Data(Split()))
    variables = chosen.recipe.served.init(jax.random.key(0), np.zeros((1, 16, 16, 1)), train=True)
    found, _ = Evaluator(chosen, ONE.build())(variables)
    assert found.scores()[score] == pytest.approx(1)
