"""How often each object of one label map meets each of another: what instance scores count.

`skimage.metrics.contingency_table` counts the same, but refuses IGNORE (-1), needs memory for every
number up to the largest (objects of electron microscopy have numbers beyond 10^9), and takes ten
times as long where numbers are small.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer


class Contingency(NamedTuple):
    """The pairs of numbers that occur at one pixel; 0 is a number like others.

    Sparse: `counts[i]` pixels, at least 1, are of the label's object `labels[i]` and of the
    prediction's object `predictions[i]`.
    """

    labels: Integer[np.ndarray, " n"]
    predictions: Integer[np.ndarray, " n"]
    counts: Int[np.ndarray, " n"]

    @classmethod
    def of(
        cls, prediction: Integer[np.ndarray, "*spatial"], label: Integer[np.ndarray, "*spatial"]
    ) -> "Contingency":
        """The pairs of two label maps of one size, by the label's number first."""
        # np.unique sorts every pixel; where the numbers are small, counting is faster.
        if label.size and min(label.min(), prediction.min()) >= 0:
            n = int(prediction.max()) + 1
            if (int(label.max()) + 1) * n <= max(label.size, 2**16):
                cells = label.ravel().astype(np.int64) * n
                # In int64 by name: numpy makes floats of int64 beside uint64.
                np.add(cells, prediction.ravel(), out=cells, dtype=np.int64, casting="unsafe")
                counts = np.bincount(cells)
                found = np.flatnonzero(counts)
                return cls(found // n, found % n, counts[found])
        labels, rows = np.unique(label.ravel(), return_inverse=True)
        predictions, columns = np.unique(prediction.ravel(), return_inverse=True)
        n = max(predictions.size, 1)
        found, counts = np.unique(rows * n + columns, return_counts=True)
        return cls(labels[found // n], predictions[found % n], counts)

    def where(self, keep: np.ndarray) -> "Contingency":
        """The pairs for which `keep` (bool `[n]`) is true."""
        return Contingency(self.labels[keep], self.predictions[keep], self.counts[keep])

    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels, in these pairs, of each pair's object in the label and in the prediction."""
        return _sums(self.labels, self.counts), _sums(self.predictions, self.counts)

    def overlaps(self) -> tuple["Contingency", Float[np.ndarray, " n"], np.ndarray, np.ndarray]:
        """Pairs of objects, their IoU, and the numbers of all objects of label and prediction.

        0 is no object, but its pixels count in the unions.
        """
        of_label, of_prediction = self.sizes()
        keep = (self.labels != 0) & (self.predictions != 0)
        union = of_label + of_prediction - self.counts
        labels, predictions = np.unique(self.labels), np.unique(self.predictions)
        iou = self.counts[keep] / union[keep]
        return self.where(keep), iou, labels[labels != 0], predictions[predictions != 0]


def _sums(names: np.ndarray, counts: np.ndarray) -> np.ndarray:
    _, index = np.unique(names, return_inverse=True)
    totals = np.zeros(index.max(initial=-1) + 1, np.int64)
    np.add.at(totals, index, counts)
    return totals[index]
