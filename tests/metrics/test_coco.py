import dataclasses

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.metrics import Case, Found, ObjectMaps, Truth, coco_scores
from jaxseg.metrics.cases import Coco
from jaxseg.metrics.coco import (
    STATS,
    Record,
    coco_of_records,
    coco_record,
    coco_resampled,
)
from jaxseg.types import IGNORE

GOLDEN = {  # coco.json, in the order of STATS
    "bbox": [0.6009075908, 0.9587458746, 0.8143564356, 0.4065346535, 0.65, 0.8,
             0.4791666667, 0.6416666667, 0.6416666667, 0.5333333333, 0.65, 0.8],
    "segm": [0.576320132, 0.9587458746, 0.8143564356, 0.3201980198, 0.7, 0.8,
             0.4541666667, 0.6166666667, 0.6166666667, 0.4333333333, 0.7, 0.8],
}  # fmt: skip


def disc(y: int, x: int, radius: int) -> np.ndarray:
    grid = np.mgrid[:200, :200]
    return (grid[0] - y) ** 2 + (grid[1] - x) ** 2 <= radius**2


def discs() -> tuple[list[Found], list[Truth]]:
    """systems.md, appendix 3."""
    truths = [
        (1, 1, (40, 40, 10)), (1, 1, (100, 60, 30)), (1, 2, (140, 150, 25)), (2, 1, (60, 60, 12)),
        (2, 2, (120, 120, 60)), (3, 2, (50, 150, 20)), (3, 1, (150, 50, 14)),
        (3, 1, (170, 170, 20), True),
    ]  # fmt: skip
    found = [
        (1, 1, (42, 41, 10), 0.95), (1, 1, (104, 63, 29), 0.9), (1, 1, (41, 44, 9), 0.6),
        (1, 2, (141, 146, 24), 0.8), (2, 1, (60, 66, 12), 0.7), (2, 2, (126, 118, 57), 0.85),
        (2, 2, (30, 170, 15), 0.5), (3, 2, (52, 148, 21), 0.75), (3, 1, (150, 60, 14), 0.65),
        (3, 1, (148, 51, 13), 0.55),
    ]  # fmt: skip
    return (
        [Found(image, category, disc(*at), score) for image, category, at, score in found],
        [Truth(image, category, disc(*at), *crowd) for image, category, at, *crowd in truths],
    )


@pytest.mark.parametrize("kind", GOLDEN)
def test_it_is_pycocotools_golden(kind, capsys):
    pytest.importorskip("pycocotools")
    scores = coco_scores(*discs(), kind=kind)
    np.testing.assert_allclose([scores[name] for name in STATS], GOLDEN[kind], rtol=1e-6)
    assert capsys.readouterr().out == ""


def test_nothing_found_and_nothing_to_find():
    pytest.importorskip("pycocotools")
    found, truths = discs()
    assert coco_scores([], truths)["AP"] == 0
    assert np.isnan(coco_scores(found, [])["AP"])


def test_without_pycocotools_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "jaxseg\[instance\]"'):
        coco_scores(*discs())


def test_the_size_of_a_mask_is_its_own_area_not_that_of_its_box():
    pytest.importorskip("pycocotools")
    ring = disc(100, 100, 50) & ~disc(100, 100, 48)
    assert ring.sum() < 32**2 < 96**2 < 101**2
    # Found before all, the ring is a mistake among the small masks, not among the large ones.
    true = disc(20, 20, 5), disc(100, 100, 80)
    found = [Found(1, 1, ring, 0.9), *(Found(1, 1, mask, 0.8) for mask in true)]
    scores = coco_scores(found, [Truth(1, 1, mask) for mask in true])
    assert scores["APs"] == pytest.approx(0.5) and scores["APl"] == pytest.approx(1)
    boxes = coco_scores(found, [Truth(1, 1, mask) for mask in true], kind="bbox")
    assert boxes["APs"] == pytest.approx(1) and boxes["APl"] == pytest.approx(0.5)


def test_coco_of_a_networks_detections_is_pycocotools_golden():
    pytest.importorskip("pycocotools")
    found, truths = discs()
    cases = []
    for image in (1, 2, 3):
        label, numbers = np.zeros((2, 200, 200), np.int32)
        for number, one in enumerate(truths, start=1):
            if one.image == image:  # the crowd is one of every class here
                label[one.mask] = IGNORE if one.crowd else one.category
                numbers[one.mask] = 0 if one.crowd else number
        of_image = tuple(one for one in found if one.image == image)
        case = Case(0 * label, label, 3, things=(1, 2), detections=of_image)
        cases.append(dataclasses.replace(case, true=ObjectMaps(label, numbers)))
    for stat, golden in zip(STATS, GOLDEN["segm"], strict=True):
        score = Coco(stat)
        got = score.total([score.of(case) for case in cases])[0]
        np.testing.assert_allclose(got, golden, rtol=1e-6, err_msg=stat)


def records() -> list[Record]:
    found, truths = discs()
    return [
        coco_record([x for x in found if x.image == i], [x for x in truths if x.image == i])
        for i in (1, 2, 3)
    ]


def test_images_drawn_again_score_as_those_images_would():
    pytest.importorskip("pycocotools")
    every = records()
    for stat in STATS:
        again = coco_resampled(every, stat)
        for drawn in ([0, 1, 2], [2, 2, 0], [1, 1, 1]):
            expected = coco_of_records([every[i] for i in drawn])[stat]
            np.testing.assert_allclose(again(np.array(drawn)), expected, err_msg=stat)


def test_of_no_truth_every_draw_is_nan():
    pytest.importorskip("pycocotools")
    assert np.isnan(coco_resampled([coco_record(discs()[0], [])], "AP")(np.array([0])))
