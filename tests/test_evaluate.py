"""Scoring a split: what each way of naming a score gives, against scores made by hand."""

import csv
import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg import evaluator, record
from jaxseg import experiment as experiments
from jaxseg.data import DSB2018, Data, Folder, Synthetic
from jaxseg.data.source import semantic
from jaxseg.errors import UserError
from jaxseg.evaluator import Evaluator
from jaxseg.experiment import Evaluation, Experiment
from jaxseg.metrics import CASE_SCORES, MORE, Calibration, Confusion, Matches, hausdorff
from jaxseg.objects import Instances, components
from jaxseg.overrides import overridden
from jaxseg.recipes import Supervised
from jaxseg.sharding import MeshShape
from jaxseg.types import Prediction

ONE = MeshShape(data=1)


class Echo(nn.Module):
    """Says of each pixel what its colour says: a logit a channel; of grey, class 1 where bright."""

    num_classes: int
    scale: float = 8.0
    dtype: str = "float32"
    stride: int = 1

    @nn.compact
    def __call__(self, image, *, train: bool) -> Prediction:
        weight = self.param("weight", nn.initializers.ones, ())
        if image.shape[-1] == 1:
            image = jnp.concatenate([1 - image, image], -1)
        return Prediction(self.scale * weight * image[..., : self.num_classes])


def experiment(data: Data, **evaluation) -> Experiment:
    return Experiment(
        recipe=Supervised(Echo(data.dataset.num_classes)),
        data=data,
        steps=1,
        batch_size=1,
        evaluation=Evaluation(**evaluation),
        checkpoint=experiments.Checkpoints(best=None),
    )


def evaluated(chosen: Experiment, mesh: MeshShape = ONE, **fields):
    experiments.check(chosen)
    variables = {"params": {"weight": jnp.ones(())}}
    return Evaluator(chosen, mesh.build(), "validation", **fields)(variables)[0]


def colours(shown: np.ndarray) -> np.ndarray:
    """An image of which `Echo` makes the label map ``shown``."""
    return (np.eye(3, dtype=np.uint8)[shown] * 255).astype(np.uint8)


def nuclei(root, *, rims: bool) -> tuple[str, list[np.ndarray], list[np.ndarray]]:
    """Two validation images in DSB2018's layout: folder, the class maps shown, true numbers.

    Of three nuclei two touch, and the third is not shown in the second image.
    """
    grid = np.indices((40, 60))
    shown, numbers, rows = [], [], []
    for image in range(2):
        objects = np.zeros((40, 60), np.int32)
        for number, (x, radius) in enumerate([(10, 8), (25, 8), (42, 5)], start=1):
            objects[(grid[0] - 20) ** 2 + (grid[1] - x) ** 2 <= radius**2] = number
        label = semantic(objects, boundary=rims)
        label[:, 35:] *= 1 - image
        for folder, array in (("images", colours(label)), ("labels", objects.astype(np.uint16))):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / folder / f"{image}.png")
        # A group of size and background that DSB2018 holds out.
        rows.append({"id": image, "h": 360, "w": 360, "background": "dark"})
        shown.append(label)
        numbers.append(objects)
    with (root / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "h", "w", "background"])
        writer.writeheader()
        writer.writerows(rows)
    return str(root), shown, numbers


def test_nuclei_that_touch_are_scored_by_their_numbers(tmp_path):
    root, shown, numbers = nuclei(tmp_path, rims=False)
    metrics = ("ap", "ap50", "aji", "pq")
    plain = experiment(Data(DSB2018(instances=True), root), metrics=metrics)
    scores = evaluated(plain).scores()
    by_hand = [
        Matches.of(components(s > 0), n).average_precision()
        for s, n in zip(shown, numbers, strict=True)
    ]
    np.testing.assert_allclose(scores["ap"], np.mean(by_hand))
    # Parted at the waist, all of the first image's are found, and two of three of the second's.
    parted = evaluated(overridden(plain, ["evaluation.instances.part_by=distance"])).scores()
    np.testing.assert_allclose(parted["ap50"], (1 + 2 / 3) / 2)
    assert parted["ap"] > scores["ap"] and parted["aji"] > scores["aji"]
    np.testing.assert_allclose(parted["pq_per_class"][1], parted["pq"])
    # Without numbers in the label, its components are the truth: what touches is one.
    blind = dataclasses.replace(plain, data=Data(DSB2018(), root))
    np.testing.assert_allclose(evaluated(blind).scores()["ap50"], (1 + 1 / 2) / 2)


def test_a_rim_parts_nuclei_by_its_probability(tmp_path):
    root, _, _ = nuclei(tmp_path, rims=True)
    parts = Instances(part_by="boundary", boundary=2)
    chosen = experiment(
        Data(DSB2018(boundary=True, instances=True), root),
        metrics=("dice", "ap50", "hd95", "pq"),
        instances=parts,
    )
    scores = evaluated(chosen).scores(("background", "nucleus", "rim"))
    np.testing.assert_allclose(scores["ap50"], (1 + 2 / 3) / 2)
    assert np.isnan(scores["ap50_per_class"]["rim"]) and scores["hd95_per_class"]["rim"] >= 0
    assert np.isnan(scores["pq_per_class"]["rim"]) and scores["pq"] > 0.8  # RQ is 2 * 5 / 11


def test_scores_of_objects_that_coco_ranks(tmp_path):
    pytest.importorskip("pycocotools")
    root, _, _ = nuclei(tmp_path, rims=False)
    chosen = experiment(
        Data(DSB2018(instances=True), root),
        metrics=("coco_ap50", "coco_ar"),
        instances=Instances(part_by="distance"),
    )
    found = evaluated(chosen)
    np.testing.assert_allclose(found.scores()["coco_ap50"], 84 / 101)  # 5 of 6: recall <= 0.83
    low, high = found.intervals()["coco_ap50_interval"]
    assert low < 84 / 101 < high


def synthetic(**fields) -> Data:
    given = {"size": (40, 48), "count": (2, 5, 2), "radius": (3.0, 6.0), **fields}
    return Data(Synthetic(**given), patch=(16, 16))


def test_calibration_is_that_of_the_probabilities():
    chosen = experiment(synthetic(), metrics=("ece", "mce"), window=(32, 32))
    found = evaluated(chosen).scores()
    total = Calibration.zero().on_host()
    for case in [chosen.data.cases("validation")[i] for i in range(5)]:
        grey = case["image"]
        probabilities = jax.nn.softmax(8 * np.concatenate([1 - grey, grey], -1))
        total = total + Calibration.of(probabilities[None], case["label"][None])
    np.testing.assert_allclose(found["ece"], total.expected_error(), rtol=1e-5)
    np.testing.assert_allclose(found["mce"], total.largest_error(), rtol=1e-5)


EVERY = ("dice", *MORE, *(name for name in CASE_SCORES if not name.startswith("coco")))


def test_every_score_is_the_same_over_ragged_batches_and_any_mesh():
    """Five cases, in batches of one, four and eight rows."""
    chosen = experiment(synthetic(), metrics=EVERY, window_batch=4)
    one = evaluated(chosen)
    scores, intervals = one.scores(), one.intervals()
    assert set(intervals) == {f"{name}_interval" for name in EVERY}
    others = [
        evaluated(
            dataclasses.replace(chosen, evaluation=Evaluation(metrics=EVERY, window=(40, 48)))
        ),
        evaluated(chosen, MeshShape(data=2, fsdp=2, spatial=2)),
    ]
    for other in others:
        for name, value in other.scores().items():
            np.testing.assert_allclose(value, scores[name], rtol=1e-6, err_msg=name)
    assert others[1].intervals().keys() == intervals.keys()


def test_probabilities_leave_the_device_only_where_they_are_needed(monkeypatch):
    given = []
    apply = evaluator._apply
    monkeypatch.setattr(evaluator, "_apply", lambda *a: given.append(a[-1]) or apply(*a))
    for metrics, expected in (
        (("dice",), ("confusion", "loss")),
        (("hd95", "ap", "pq"), ("confusion", "labels", "loss")),
        (("ece",), ("confusion", "labels", "loss", "calibration")),
    ):
        evaluated(experiment(synthetic(count=(1, 1, 1)), metrics=metrics))
        assert set(given) == {expected}, metrics
        given.clear()


def volumes(root, zooms) -> Data:
    import nibabel

    label = np.zeros((12, 12, 12), np.uint8)
    label[3:8, 3:8, 3:8] = 1
    image = np.eye(2, dtype=np.float32)[np.roll(label, 2, axis=0)]
    for kind, array in (("images", image), ("masks", label)):
        folder = root / "validation" / kind
        folder.mkdir(parents=True)
        file = nibabel.Nifti1Image(array, np.diag([*zooms, 1.0]))
        file.header.set_xyzt_units("mm")
        nibabel.save(file, folder / "a.nii.gz")
    return Data(Folder(2, channels=2, rank=3), str(root))


def test_distances_are_in_the_millimetres_of_the_header(tmp_path):
    found = evaluated(experiment(volumes(tmp_path, (2.5, 1.0, 1.0)), metrics=("hd95", "nsd")))
    case = volumes_label = np.zeros((12, 12, 12), bool)
    volumes_label[3:8, 3:8, 3:8] = True
    expected = hausdorff(np.roll(case, 2, 0), case, percentile=95.0, spacing=(2.5, 1.0, 1.0))
    assert found.scores()["hd95_per_class"][1] == expected > 2.5
    assert found.distances_in == {"distances_in": "mm"}
    assert np.isnan(found.scores()["hd95_per_class"][0])  # class 0 is background without names
    pixels = evaluated(experiment(synthetic(), metrics=("hd95",)))
    assert pixels.distances_in == {"distances_in": "pixels"}


def test_distances_in_mm_and_in_pixels_have_no_mean(tmp_path):
    data = volumes(tmp_path, (2.5, 1.0, 1.0))
    for kind, shape in (("images", (12, 12, 12, 2)), ("masks", (12, 12, 12))):
        np.save(tmp_path / "validation" / kind / "b.npy", np.zeros(shape, np.uint8))
    assert evaluated(experiment(data)).scores()["dice"] > 0
    with pytest.raises(UserError, match="case a has a spacing in mm and case b has none"):
        evaluated(experiment(data, metrics=("hd95",)))


def test_coco_without_pycocotools_is_refused_before_anything_is_read(monkeypatch):
    chosen = experiment(synthetic(), metrics=("coco_ap",))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "jaxseg\[instance\]"'):
        Evaluator(chosen, ONE.build())


def test_coco_of_volumes_is_refused(tmp_path):
    pytest.importorskip("pycocotools")
    chosen = experiment(volumes(tmp_path, (1.0, 1.0, 1.0)), metrics=("coco_ap",))
    with pytest.raises(UserError, match="COCO's are of images alone"):
        Evaluator(chosen, ONE.build())


def test_a_class_of_objects_that_does_not_exist_is_refused():
    chosen = experiment(synthetic(), metrics=("ap",), instances=Instances(things=(5,)))
    with pytest.raises(UserError, match="evaluation.instances names class 5"):
        Evaluator(chosen, ONE.build())
    chosen = overridden(chosen, ["evaluation.instances.things=()"])
    with pytest.raises(UserError, match="no class has objects"):
        Evaluator(chosen, ONE.build())


def test_instances_stand_in_the_experiment_and_can_be_overridden():
    chosen = experiment(synthetic(), instances=Instances(smallest=4))
    text = json.dumps(record.to_json(chosen))
    assert record.from_json(json.loads(text), classes=[Echo]) == chosen
    changed = overridden(chosen, ["evaluation.instances.part_by=distance"])
    assert changed.evaluation.instances == Instances(smallest=4, part_by="distance")
    with pytest.raises(UserError, match="instances.part_by='distence': expected Literal"):
        overridden(chosen, ["evaluation.instances.part_by=distence"])


@pytest.mark.parametrize("best", ["hd95", "ece", "pixel_error"])
def test_a_score_of_which_the_least_is_best_cannot_choose_the_checkpoint(best):
    chosen = experiment(synthetic(), metrics=(best,))
    chosen = dataclasses.replace(chosen, checkpoint=experiments.Checkpoints(best=best))
    with pytest.raises(UserError, match="the least is best"):
        experiments.check(chosen)


def test_counts_of_cases_are_those_of_the_whole():
    found = evaluated(experiment(synthetic()))
    assert found.matrices is not None and found.matrices.shape == (5, 2, 2)
    whole = Confusion(matrix=found.matrices.sum(0))  # pyright: ignore[reportCallIssue]
    np.testing.assert_array_equal(whole.matrix, found.confusion.matrix)


def test_samples_are_the_first_cases_and_the_worst_of_the_rest():
    chosen = experiment(synthetic(count=(1, 9, 1)), window_batch=2)
    variables = {"params": {"weight": jnp.ones(())}}
    _, samples = Evaluator(chosen, ONE.build())(variables, samples=2)
    _, every = Evaluator(chosen, ONE.build())(variables, samples=9)
    assert [x.name for x in samples[:2]] == [x.name for x in every[:2]]
    rest = sorted(every[2:], key=lambda sample: sample.dice)
    assert [x.name for x in samples[2:]] == [x.name for x in rest[:2]]
    assert [x.worst for x in samples] == [False, False, True, True]
    for sample in every:
        matrix = Confusion.of(sample.prediction[None], sample.label[None], 2)
        np.testing.assert_allclose(sample.dice, matrix.dice()[1], rtol=1e-6)
        np.testing.assert_array_equal(sample.label.shape, sample.image.shape[:-1])
