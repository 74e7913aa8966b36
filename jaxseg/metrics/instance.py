"""Scores of objects found and missed: average precision of DSB2018, AJI, panoptic quality.

Label maps number objects from 1; 0 is background. All counting is done on the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from jaxseg.metrics.contingency import Contingency
from jaxseg.types import IGNORE

Map = Integer[np.ndarray, "*spatial"]

THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""IoU 0.50, 0.55, ... 0.95."""

ROUNDING = 1e-9  # an IoU of exactly 0.9 is not above 0.9, whatever floats say


@dataclass(frozen=True)
class Matches:
    """Objects matched at each IoU threshold; ``a + b`` merges the objects of two sets of images.

    An object of the prediction matches one of the label where their IoU is above the threshold
    (strictly, as DSB2018 counts); at 0.5 and above no object has two matches.
    """

    matched: Int[np.ndarray, " t"]
    predicted: int
    labelled: int
    thresholds: tuple[float, ...] = THRESHOLDS

    @classmethod
    def zero(cls, thresholds: Sequence[float] = THRESHOLDS) -> "Matches":
        """The counts of no objects."""
        if min(thresholds) < 0.5:
            raise ValueError(f"thresholds={tuple(thresholds)}: matches are unique from 0.5 on")
        return cls(np.zeros(len(thresholds), np.int64), 0, 0, tuple(thresholds))

    @classmethod
    def of(cls, prediction: Map, label: Map, thresholds: Sequence[float] = THRESHOLDS) -> "Matches":
        """The counts of one image, or of several whose objects have different numbers."""
        empty = cls.zero(thresholds)
        _, iou, labels, predictions = Contingency.of(prediction, label).overlaps()
        above = iou[:, None] > np.asarray(empty.thresholds)[None] + ROUNDING
        return cls(above.sum(0), len(predictions), len(labels), empty.thresholds)

    def __add__(self, other: "Matches") -> "Matches":
        """The counts of both."""
        if self.thresholds != other.thresholds:
            raise ValueError(f"thresholds {self.thresholds} and {other.thresholds} do not merge")
        return Matches(
            self.matched + other.matched,
            self.predicted + other.predicted,
            self.labelled + other.labelled,
            self.thresholds,
        )

    def precisions(self) -> Float[np.ndarray, " t"]:
        """``TP / (TP + FP + FN)`` at each threshold; NaN where there are no objects at all."""
        union = self.predicted + self.labelled - self.matched
        return np.where(union > 0, self.matched / np.maximum(union, 1), np.nan)

    def average_precision(self) -> float:
        """Mean over the thresholds. DSB2018's score is the mean of this over images."""
        return float(self.precisions().mean())

    def f1(self) -> Float[np.ndarray, " t"]:
        """``2 TP / (2 TP + FP + FN)`` at each threshold."""
        both = self.predicted + self.labelled
        return 2 * self.matched / both if both else np.full(len(self.matched), np.nan)


def aggregated_jaccard(prediction: Map, label: Map) -> float:
    """Aggregated Jaccard index: Kumar et al. 2017, https://doi.org/10.1109/TMI.2017.2677499.

    Each object of the label is paired with the object of the prediction of the highest IoU (which
    several may share); intersections over unions, summed over the pairs, where the unions hold also
    all objects without a partner. NaN without an object.
    """
    pairs, iou, labels, predictions = Contingency.of(prediction, label).overlaps()
    areas, of_label = (
        dict(zip(*(x.tolist() for x in np.unique(objects, return_counts=True)), strict=True))
        for objects in (prediction, label)
    )
    best: dict[int, int] = {}
    for i in np.argsort(iou, kind="stable"):  # the highest last
        best[int(pairs.labels[i])] = int(i)
    intersection = union = 0
    for n in labels.tolist():
        if n not in best:
            union += of_label[n]
            continue
        i = best[n]
        intersection += int(pairs.counts[i])
        union += of_label[n] + areas[int(pairs.predictions[i])] - int(pairs.counts[i])
    used = {int(pairs.predictions[i]) for i in best.values()}
    union += sum(areas[n] for n in predictions.tolist() if n not in used)
    return intersection / union if union else float("nan")


@dataclass(frozen=True)
class Panoptic:
    """Counts of segments by class, for panoptic quality; ``a + b`` merges two.

    Kirillov et al. 2019, https://arxiv.org/abs/1801.00868. A class that is in neither label nor
    prediction has NaN, and is left out of means.
    """

    iou: Float[np.ndarray, " k"]
    tp: Int[np.ndarray, " k"]
    fp: Int[np.ndarray, " k"]
    fn: Int[np.ndarray, " k"]

    @classmethod
    def zero(cls, num_classes: int) -> "Panoptic":
        """The counts of no segments."""
        counts = [np.zeros(num_classes, np.int64) for _ in range(3)]
        return cls(np.zeros(num_classes), *counts)

    @classmethod
    def of(
        cls,
        prediction: Map,
        label: Map,
        prediction_instance: Map,
        label_instance: Map,
        num_classes: int,
        *,
        things: Sequence[int] | None = None,
    ) -> "Panoptic":
        """The counts of one image: a segment is a class (label map) and a number (instance map).

        Classes that are not ``things`` (None: all are) make one segment an image, whatever their
        numbers. Where the label is IGNORE (void), pixels count in no union, and a segment of the
        prediction that matches nothing and lies there by more than half is no false positive. Void
        in the prediction (IGNORE) belongs to no segment. Segments match at an IoU above 0.5.
        """
        keys = [
            _segments(*maps, num_classes, things)
            for maps in ((prediction, prediction_instance), (label, label_instance))
        ]
        pairs = Contingency.of(*keys)
        of_label, of_prediction = pairs.sizes()
        void = pairs.labels == 0
        hidden = dict(zip(pairs.predictions[void].tolist(), pairs.counts[void], strict=True))
        in_void = np.array([hidden.get(n, 0) for n in pairs.predictions.tolist()], np.int64)
        real = (pairs.labels != 0) & (pairs.predictions != 0)
        iou = pairs.counts / np.maximum(of_label + of_prediction - in_void - pairs.counts, 1)
        same = (pairs.labels - 1) % num_classes == (pairs.predictions - 1) % num_classes
        match = real & same & (iou > 0.5)

        def by_class(names: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
            return np.bincount((names - 1) % num_classes, weights, minlength=num_classes)

        missed = np.setdiff1d(pairs.labels[pairs.labels != 0], pairs.labels[match])
        excused = pairs.predictions[2 * in_void > of_prediction]
        found = pairs.predictions[pairs.predictions != 0]
        false = np.setdiff1d(found, np.concatenate([pairs.predictions[match], excused]))
        matched = pairs.labels[match]
        return cls(
            by_class(matched, iou[match]).astype(float),
            by_class(matched),
            by_class(false),
            by_class(missed),
        )

    def __add__(self, other: "Panoptic") -> "Panoptic":
        """The counts of both."""
        return Panoptic(
            self.iou + other.iou, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn
        )

    def quality(self) -> Float[np.ndarray, " k"]:
        """PQ of each class: the product of the two below."""
        return self.segmentation_quality() * self.recognition_quality()

    def segmentation_quality(self) -> Float[np.ndarray, " k"]:
        """SQ of each class: mean IoU of the matched segments; 0 where none is matched."""
        return np.where(self._seen(), self.iou / np.maximum(self.tp, 1), np.nan)

    def recognition_quality(self) -> Float[np.ndarray, " k"]:
        """RQ of each class: ``TP / (TP + FP / 2 + FN / 2)``."""
        bottom = self.tp + 0.5 * self.fp + 0.5 * self.fn
        return np.where(self._seen(), self.tp / np.maximum(bottom, 0.5), np.nan)

    def _seen(self) -> Bool[np.ndarray, " k"]:
        return self.tp + self.fp + self.fn > 0


def _segments(label: Map, instance: Map, num_classes: int, things: Sequence[int] | None) -> Map:
    """One number a segment, from 1, that gives its class modulo ``num_classes``; 0 is void."""
    number = instance.astype(np.int64)
    if things is not None:
        number = np.where(np.isin(label, things), number, 0)
    return np.where(label == IGNORE, 0, 1 + label + num_classes * number)
