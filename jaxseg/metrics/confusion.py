"""The confusion matrix, and the scores that are read from it: IoU, Dice, precision, recall."""

from collections.abc import Sequence
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

PER_CLASS = ("dice", "iou", "precision", "recall")
"""Scores of each class, reported beside their mean."""

SCORES = (*PER_CLASS, "accuracy")
"""The names that ``Confusion.scores`` gives, but for those ``..._per_class``."""

Average = Literal["macro", "micro", "weighted"]

MORE = (
    "specificity",
    "kappa",
    "matthews",
    *(f"{score}_{how}" for score in PER_CLASS for how in ("micro", "weighted")),
)
"""Names that ``Confusion.scores`` gives where they are asked for."""


@chex.dataclass(frozen=True)
class Confusion:
    """Counts of pixels by label (rows) and prediction (columns); ``a + b`` merges two.

    Counts are int32 on the device, exact up to 2^31 - 1 pixels a cell; over a whole data set, add
    to ``on_host()``, which counts in int64. A class that is in neither label nor prediction has
    NaN for every score, and is left out of means. Scores of a host matrix are float64.
    """

    matrix: Int[Array | np.ndarray, "k k"]

    @classmethod
    def zero(cls, num_classes: int) -> "Confusion":
        """The matrix of no pixels."""
        return _confusion(jnp.zeros((num_classes, num_classes), jnp.int32))

    @classmethod
    def of(
        cls,
        prediction: Int[Array | np.ndarray, " b *spatial"],
        label: Int[Array | np.ndarray, " b *spatial"],
        num_classes: int,
        *,
        valid: Bool[Array | np.ndarray, " b"] | None = None,
    ) -> "Confusion":
        """The matrix of label maps; IGNORE and rows that are not ``valid`` do not count.

        Values below 0 and from ``num_classes`` on do not count either, in both maps.
        """
        each = cls.each(prediction, label, num_classes, valid=valid)
        return _confusion(each.sum(0))

    @staticmethod
    def each(
        prediction: Int[Array | np.ndarray, " b *spatial"],
        label: Int[Array | np.ndarray, " b *spatial"],
        num_classes: int,
        *,
        valid: Bool[Array | np.ndarray, " b"] | None = None,
    ) -> Int[Array, "b k k"]:
        """The matrix of each example."""
        prediction, label = jnp.asarray(prediction), jnp.asarray(label)
        rows = label.reshape(label.shape[0], -1), prediction.reshape(label.shape[0], -1)
        # IGNORE is one of the values below 0.
        counts = _in_range(rows[0], num_classes) & _in_range(rows[1], num_classes)
        if valid is not None:
            counts = counts & jnp.asarray(valid)[:, None]
        cells = num_classes * num_classes
        cell = jnp.where(counts, rows[0] * num_classes + rows[1], cells)  # cells: dropped
        # One bincount an example, then the sum: under a mesh each device counts its own pixels and
        # only the matrices travel. On two CPU cores a megapixel takes 2 ms for any number of
        # classes; products of one-hot matrices take 4 ms at 2 classes, 85 at 12, 1200 at 150.
        zeros = jnp.zeros((cells,), jnp.int32)
        matrices = jax.vmap(lambda c: zeros.at[c].add(1, mode="drop"))(cell)
        return matrices.reshape(-1, num_classes, num_classes)

    def __add__(self, other: "Confusion") -> "Confusion":
        """The sum of two, in int64 on the host where either is there already."""
        if isinstance(self.matrix, np.ndarray) or isinstance(other.matrix, np.ndarray):
            return _confusion(_int64(self.matrix) + _int64(other.matrix))
        return _confusion(self.matrix + other.matrix)

    def on_host(self) -> "Confusion":
        """The same counts in numpy's int64."""
        return _confusion(_int64(self.matrix))

    def iou(self) -> Float[Array | np.ndarray, " k"]:
        """``TP / (TP + FP + FN)`` of each class (Jaccard)."""
        tp, fp, fn = self._rates()
        return _ratio(tp, tp + fp + fn, tp + fp + fn)

    def dice(self) -> Float[Array | np.ndarray, " k"]:
        """``2 TP / (2 TP + FP + FN)`` of each class (F1)."""
        tp, fp, fn = self._rates()
        return _ratio(2 * tp, 2 * tp + fp + fn, tp + fp + fn)

    def precision(self) -> Float[Array | np.ndarray, " k"]:
        """``TP / (TP + FP)`` of each class; 0 where it is in the label but never predicted."""
        tp, fp, fn = self._rates()
        return _ratio(tp, tp + fp, tp + fp + fn)

    def recall(self) -> Float[Array | np.ndarray, " k"]:
        """``TP / (TP + FN)`` of each class; 0 where it is predicted but not in the label."""
        tp, fp, fn = self._rates()
        return _ratio(tp, tp + fn, tp + fp + fn)

    def accuracy(self) -> Any:
        """Share of the counted pixels that are right; NaN without a pixel."""
        counts = 1.0 * self.matrix
        return _ratio(counts.diagonal().sum(), counts.sum(), counts.sum())

    def specificity(self) -> Float[Array | np.ndarray, " k"]:
        """``TN / (TN + FP)`` of each class against the rest; NaN where no pixel is in the rest."""
        tp, fp, fn = self._rates()
        rest = (1.0 * self.matrix).sum() - tp - fn
        return _ratio(rest - fp, rest, rest)

    def kappa(self) -> Any:
        """Cohen's kappa: agreement beyond that of chance; NaN where chance explains all."""
        shares, given, found = self._shares()
        beyond = (given * _others(found)).sum()  # what chance leaves, with no difference to round
        return _ratio(shares.diagonal().sum() - (given * found).sum(), beyond, beyond)

    def matthews(self) -> Any:
        """Correlation of label and prediction (of k classes Gorodkin's), NaN where one is constant.

        scikit-learn gives 0 there.
        """
        shares, given, found = self._shares()
        lib = np if isinstance(shares, np.ndarray) else jnp
        root = lib.sqrt((given * _others(given)).sum() * (found * _others(found)).sum())
        return _ratio(shares.diagonal().sum() - (given * found).sum(), root, root)

    def average(self, score: str, how: Average = "macro") -> Any:
        """One number of a score of ``PER_CLASS``; NaN where there is nothing to score.

        ``macro``: the mean over the classes that occur. ``weighted``: that mean weighted by the
        labels' pixels. ``micro``: of the classes' counts added up, so that large classes weigh
        more; of one label a pixel, Dice, precision and recall are then the accuracy.
        """
        if how == "micro":
            tp, fp, fn = (counts.sum() for counts in self._rates())
            bottoms = {"dice": tp + (fp + fn) / 2, "iou": tp + fp + fn}
            bottoms |= {"precision": tp + fp, "recall": tp + fn}
            return _ratio(tp, bottoms[score], bottoms[score])
        values = getattr(self, score)()
        return mean(values, (1.0 * self.matrix).sum(1) if how == "weighted" else None)

    def score(self, name: str) -> Any:
        """One number of ``SCORES`` or ``MORE``; of a score of classes, the mean."""
        score, _, how = name.partition("_")
        if how in ("micro", "weighted"):
            return self.average(score, how)
        value = getattr(self, name)()
        return mean(value) if value.ndim else value

    def scores(
        self, class_names: Sequence[str] | None = None, more: Sequence[str] = ()
    ) -> dict[str, Any]:
        """All of ``SCORES``, and ``more`` of ``MORE``, as floats for reports; not under ``jit``.

        ``iou``, ``dice``, ``precision`` and ``recall`` are means over the classes that occur, each
        beside a list ``<score>_per_class`` (a dict by name, given ``class_names``), and
        ``accuracy`` is over pixels. NaN, not None, where there is nothing to score.
        """
        host = self.on_host()
        report: dict[str, Any] = {}
        for name in (*PER_CLASS, *(name for name in more if name == "specificity")):
            values = [float(value) for value in getattr(host, name)()]
            report[name] = float(mean(np.asarray(values)))
            report[f"{name}_per_class"] = (
                dict(zip(class_names, values, strict=True)) if class_names else values
            )
        single = ["accuracy", *(name for name in more if name not in report)]
        return {**report, **{name: float(host.score(name)) for name in single}}

    def _shares(self) -> tuple[Any, Any, Any]:
        """Shares of all pixels: the matrix, and the classes in label and in prediction."""
        counts = 1.0 * self.matrix
        lib = np if isinstance(counts, np.ndarray) else jnp
        shares = counts / lib.maximum(counts.sum(), 1.0)
        return shares, shares.sum(1), shares.sum(0)

    def _rates(self) -> tuple[Any, Any, Any]:
        # Floats before any sum: a sum of int32 counts could pass 2^31.
        counts = 1.0 * self.matrix
        tp = counts.diagonal()
        return tp, counts.sum(0) - tp, counts.sum(1) - tp


def mean(
    scores: Float[Array | np.ndarray, " k"],
    weights: Float[Array | np.ndarray, " k"] | None = None,
) -> Any:
    """Mean, or weighted mean, over the classes that have a score; NaN where none has."""
    # nanmean warns of an empty mean in numpy.
    lib = np if isinstance(scores, np.ndarray) else jnp
    has = ~lib.isnan(scores)
    shares = 1.0 * has if weights is None else has * weights
    total = shares.sum()
    return _ratio((lib.where(has, scores, 0.0) * shares).sum(), total, total)


def _confusion(matrix: Array | np.ndarray) -> Confusion:
    return Confusion(matrix=matrix)  # pyright: ignore[reportCallIssue]  (chex is not typed)


def _in_range(x: Int[Array, "*n"], num_classes: int) -> Bool[Array, "*n"]:
    return (x >= 0) & (x < num_classes)


def _others(shares: Any) -> Any:
    """The sum of all other classes' shares, exactly 0 where there is only one class."""
    return (shares[None] * (1.0 - np.eye(shares.shape[0], dtype=shares.dtype))).sum(1)


def _int64(matrix: Any) -> np.ndarray:
    return np.asarray(matrix).astype(np.int64)


def _ratio(top: Any, bottom: Any, seen: Any) -> Any:
    """``top / bottom``; 0 where only ``bottom`` is empty, NaN where nothing is ``seen``."""
    lib = jnp if isinstance(top, jax.Array) else np
    value = top / lib.where(bottom > 0, bottom, 1.0)
    return lib.where(seen > 0, value, lib.nan)
