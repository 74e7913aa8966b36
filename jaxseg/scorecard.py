"""What an evaluation leaves beside its scores: a row a case, and a picture of the confusions.

evaluation/<key>/cases.csv      a line a case, a column a score, and one for each class of it
evaluation/<key>/cases.json     the same, classes nested
evaluation/<key>/confusion.png  the matrix, its rows (labels) normalised
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxseg import disk
from jaxseg.metrics import Evaluated

WRITTEN_UP_TO = 16
"""Classes up to which the picture writes numbers into its cells."""

LONGEST = 60
"""Letters of a key in the name of its folder."""


def write(folder: Path, evaluated: Evaluated, class_names: Sequence[str] | None) -> None:
    """Write the three files into ``folder``, made where absent; each is whole or absent."""
    disk.folder(folder)
    rows = evaluated.cases(class_names)
    disk.write_json(folder / "cases.json", rows)
    _write_csv(folder / "cases.csv", [_flat(row) for row in rows])
    matrix = np.asarray(evaluated.confusion.matrix)
    with disk.replacing(folder / "confusion.png") as beside:
        confusion_figure(matrix, class_names).savefig(beside, format="png")


def slug(key: str) -> str:
    """The name of a key's folder: the key, if a folder may be called so, else marked by a digest.

    Two keys never share one.
    """
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", key).strip("-.")[:LONGEST]
    if plain == key:
        return key
    return f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def confusion_figure(
    matrix: Int[np.ndarray, "k k"], class_names: Sequence[str] | None = None
) -> Any:
    """The matrix as a matplotlib figure: labels are rows, each coloured by its share.

    Up to 16 classes each cell says share and count of pixels. A class without a pixel in the labels
    has an empty row.
    """
    from matplotlib.figure import Figure

    k = len(matrix)
    shares = np.full((k, k), np.nan)
    total = matrix.sum(1, keepdims=True)
    np.divide(matrix, total, out=shares, where=total > 0)
    edge = float(np.clip(0.9 * k + 2, 4.5, 16))
    figure = Figure(figsize=(edge + 1, edge), dpi=100, layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axis, label="share of the label's pixels", shrink=0.8)
    names = list(class_names or map(str, range(k)))
    size = "medium" if k <= WRITTEN_UP_TO else max(3.0, 160 / k)
    axis.set_xticks(range(k), names, rotation=90 if k > 4 else 0, fontsize=size)
    axis.set_yticks(range(k), names, fontsize=size)
    axis.set_xlabel("prediction")
    axis.set_ylabel("label")
    for row, column in np.ndindex(k, k) if k <= WRITTEN_UP_TO else ():
        share = shares[row, column]
        if np.isfinite(share):
            said = f"{share:.3f}\n{matrix[row, column]}"
            ink = "white" if share > 0.5 else "black"
            axis.text(column, row, said, ha="center", va="center", color=ink, fontsize="small")
    return figure


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose scores by class are columns, ``dice/nucleus``, after all that have no class."""
    single, by_class = {}, {}
    for name, value in row.items():
        score = name.removesuffix("_per_class")
        if isinstance(value, list):
            value = {str(number): one for number, one in enumerate(value)}
        if isinstance(value, Mapping):
            by_class |= {f"{score}/{label}": one for label, one in value.items()}
        else:
            single[name] = value
    return single | by_class


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as CSV, with an empty cell where a case has no value."""
    with disk.replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(disk.plain(rows))
