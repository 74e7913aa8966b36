"""COCO's average precision and recall of masks and boxes, by pycocotools (an optional extra)."""

import contextlib
import copy
import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int

from jaxseg.errors import UserError

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The numbers in pycocotools' order; s, m, l: areas below 32^2, below 96^2 and above (pixels)."""

Kind = Literal["segm", "bbox"]

Record = Mapping[str, Any]
"""The found and the true objects of one image, masks run-length encoded: numbers and bytes."""


@dataclass(frozen=True)
class Found:
    """An object that was predicted, in image number ``image``; COCO's numbers are of 2-D masks."""

    image: int
    category: int
    mask: Bool[np.ndarray, "*spatial"]
    score: float


@dataclass(frozen=True)
class Truth:
    """An object of the label; any part of a ``crowd`` may be found any number of times."""

    image: int
    category: int
    mask: Bool[np.ndarray, "h w"]
    crowd: bool = False


def require_pycocotools() -> None:
    """Raise UserError where pycocotools is not installed."""
    if importlib.util.find_spec("pycocotools") is None:
        raise UserError('COCO scores need pycocotools: pip install "jaxseg[instance]"')


def coco_scores(
    found: Sequence[Found], truths: Sequence[Truth], *, kind: Kind = "segm"
) -> dict[str, float]:
    """The twelve numbers of ``STATS``; NaN where there is no object to score (pycocotools' -1).

    Raises UserError where pycocotools is not installed.
    """
    require_pycocotools()
    images = sorted({x.image for x in (*found, *truths)})
    records = [
        coco_record([x for x in found if x.image == i], [x for x in truths if x.image == i])
        for i in images
    ]
    return coco_of_records(records, kind=kind)


def coco_record(found: Sequence[Found], truths: Sequence[Truth]) -> Record:
    """The record of one image, whatever its number."""
    return {
        "found": [{"score": float(x.score), **_annotation(x)} for x in found],
        "true": [{"iscrowd": int(x.crowd), **_annotation(x)} for x in truths],
    }


def coco_of_records(records: Sequence[Record], *, kind: Kind = "segm") -> dict[str, float]:
    """The numbers of `coco_scores` for images that are kept as records."""
    evaluation = _evaluation(records, kind)
    if evaluation is None:
        return dict.fromkeys(STATS, float("nan"))
    with _silence():
        evaluation.accumulate()
    return {stat: _stat(evaluation, stat) for stat in STATS}


def coco_resampled(
    records: Sequence[Record], stat: str, *, kind: Kind = "segm"
) -> Callable[[Int[np.ndarray, " n"]], float]:
    """A function from the numbers of drawn images to the ``stat`` of those images.

    Objects are matched once; each draw only ranks them.
    """
    whole = _evaluation(records, kind)
    if whole is None:
        return lambda drawn: float("nan")
    area, limit = _place(stat)
    areas, every, images = len(whole.params.areaRng), whole.evalImgs, len(records)
    categories = len(whole.params.catIds)
    whole.params.areaRng, whole.params.maxDets = [whole.params.areaRng[area]], [limit]
    whole._paramsEval = copy.deepcopy(whole.params)  # the one area that is left is the first

    def score(drawn: np.ndarray) -> float:
        rows = [(k * areas + area) * images for k in range(categories)]
        whole.evalImgs = [every[row + i] for row in rows for i in drawn]
        with _silence():
            whole.accumulate()
        return _stat(whole, stat)

    return score


def _evaluation(records: Sequence[Record], kind: Kind) -> Any:
    """An evaluation that has matched objects, not yet ranked; None where the label has none."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def numbered(part: str) -> list[dict]:
        rows = [(i, row) for i, record in enumerate(records) for row in record[part]]
        return [{"id": n, "image_id": i, **row} for n, (i, row) in enumerate(rows, start=1)]

    found, true = numbered("found"), numbered("true")
    if kind == "segm":  # a result's size would be that of its box, where it has one
        found = [{key: row[key] for key in row if key != "bbox"} for row in found]
    if not true:
        return None
    categories = sorted({row["category_id"] for row in (*found, *true)})
    with _silence():
        truth: Any = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i, **_size(record)} for i, record in enumerate(records)],
            "categories": [{"id": k} for k in categories],
            "annotations": true,
        }
        truth.createIndex()
        detections = truth.loadRes(found) if found else COCO()  # it takes no empty list
        evaluation = COCOeval(truth, detections, kind)
        evaluation.evaluate()
    return evaluation


def _size(record: Record) -> dict[str, int]:
    """An image's size, which pycocotools asks for although every mask has its own."""
    sizes = [row["segmentation"]["size"] for row in (*record["true"], *record["found"])]
    return dict(zip(("height", "width"), sizes[0] if sizes else (0, 0), strict=True))


def _place(stat: str) -> tuple[int, int]:
    """The place of ``stat``: number of its range of areas (0: all), and objects an image."""
    area = {"s": 1, "m": 2, "l": 3}.get(stat[-1], 0)
    return area, int(stat[2:]) if stat in ("AR1", "AR10") else 100


def _stat(evaluation: Any, stat: str) -> float:
    """The mean of what is not -1, which pycocotools' own summary prints."""
    area, limit = _place(stat)
    params = evaluation.params
    area = area if len(params.areaRng) > 1 else 0
    table = evaluation.eval["precision" if stat.startswith("AP") else "recall"]
    table = table[..., area, params.maxDets.index(limit)]  # [thresholds, (recalls,) classes]
    if stat in ("AP50", "AP75"):
        table = table[np.isclose(params.iouThrs, int(stat[2:]) / 100)]
    table = table[table > -1]
    return float(table.mean()) if table.size else float("nan")


def _silence() -> Any:
    return contextlib.redirect_stdout(io.StringIO())  # it prints its progress


def _annotation(x: Found | Truth) -> dict[str, Any]:
    from pycocotools import mask as codec

    rle = codec.encode(np.asfortranarray(x.mask, np.uint8))
    return {
        "category_id": x.category,
        "segmentation": rle,
        "area": float(codec.area(rle)),
        "bbox": codec.toBbox(rle).tolist(),
    }
