"""COCO's average precision and recall of masks and boxes, by pycocotools (an optional extra)."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from jaxseg.errors import UserError

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""In pycocotools' order; s, m, l are objects below 32^2, below 96^2 and above, in pixels."""


@dataclass(frozen=True)
class Found:
    """An object that was predicted, in image number ``image``."""

    image: int
    category: int
    mask: Bool[np.ndarray, "h w"]
    score: float


@dataclass(frozen=True)
class Truth:
    """An object of the label; of a ``crowd``, any part may be found any number of times."""

    image: int
    category: int
    mask: Bool[np.ndarray, "h w"]
    crowd: bool = False


def coco_scores(
    found: Sequence[Found], truths: Sequence[Truth], *, kind: Literal["segm", "bbox"] = "segm"
) -> dict[str, float]:
    """The twelve numbers of ``STATS``; NaN where there is no object to score (pycocotools' -1).

    Raises UserError where pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UserError("COCO scores need pycocotools: pip install 'jaxseg[instance]'") from error
    if not truths:
        return dict.fromkeys(STATS, float("nan"))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth: Any = COCO()
        truth.dataset = {
            "info": {},
            "images": [
                {"id": image, "height": shape[0], "width": shape[1]}
                for image, shape in {x.image: x.mask.shape for x in (*found, *truths)}.items()
            ],
            "categories": [{"id": c} for c in sorted({x.category for x in (*found, *truths)})],
            "annotations": [
                {"id": i, "iscrowd": int(x.crowd), **_annotation(x)}
                for i, x in enumerate(truths, start=1)
            ],
        }
        truth.createIndex()
        results = [{"score": x.score, **_annotation(x)} for x in found]
        detections = truth.loadRes(results) if results else COCO()  # it takes no empty list
        evaluation = COCOeval(truth, detections, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [float(x) for x in evaluation.stats]
    return {n: x if x >= 0 else float("nan") for n, x in zip(STATS, stats, strict=True)}


def _annotation(x: Found | Truth) -> dict[str, Any]:
    from pycocotools import mask as codec

    rle = codec.encode(np.asfortranarray(x.mask, np.uint8))
    return {
        "image_id": x.image,
        "category_id": x.category,
        "segmentation": rle,
        "area": float(codec.area(rle)),
        "bbox": codec.toBbox(rle).tolist(),
    }
