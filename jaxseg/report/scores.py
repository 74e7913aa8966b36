"""Scores as text: one line while training, a table after an evaluation.

Scores come as `Confusion.scores(class_names)` gives them: a mean by name, and beside it
`<name>_per_class`, by class name, and after an evaluation `<name>_interval`, low and high,
and `<name>_cases_left_out` where a score has no value for some cases.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

TABLE_SCORES = 8
"""A table has a column a score up to this number, and a row a score beyond."""

LINE_CLASSES = 12
"""A line shows each class up to this number, and the lowest few beyond."""


def score_line(
    scores: Mapping[str, Any],
    metrics: Sequence[str] = ("dice", "iou"),
    class_names: Sequence[str] | None = None,
) -> str:
    """Means, then the first by class: `dice 0.912 iou 0.840 | background 0.980 nucleus 0.844`.

    Cases that a score leaves out, and classes that its mean does, stand behind it.
    """
    classes = by_class(scores, metrics[0], class_names) if metrics else {}
    means = " ".join(_mean(scores, name) for name in metrics)
    absent = sum(not _finite(score) for score in classes.values())
    if 0 < absent < len(classes):
        means += f" (means of {len(classes) - absent} of {len(classes)} classes)"
    if not classes:
        return means
    shown = list(classes.items())
    if len(shown) > LINE_CLASSES:
        present = [(name, score) for name, score in shown if _finite(score)]
        shown = sorted(present, key=lambda item: item[1])[:3]
        means += f" | lowest {metrics[0]}"
    else:
        means += " |"
    return " ".join([means, *(f"{name} {_number(score)}" for name, score in shown)])


def _mean(scores: Mapping[str, Any], name: str) -> str:
    left_out = scores.get(f"{name}_cases_left_out")
    said = f" ({left_out} cases left out)" if left_out else ""
    return f"{name} {_number(scores.get(name))}{said}"


def score_table(title: str, scores: Mapping[str, Any]) -> Table:
    """A row a class and a column a score, the means last; of many scores the other way round."""
    names = [name for name in scores if f"{name}_per_class" in scores]
    columns = {name: by_class(scores, name) for name in names}
    labels = list(next(iter(columns.values()), {}))
    table = Table(title=title, title_justify="left")
    wide = len(names) <= TABLE_SCORES
    table.add_column("class" if wide else "score", no_wrap=True)
    for name in names if wide else [*labels, "mean"]:
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        for label in labels:
            table.add_row(label, *(_number(columns[name].get(label)) for name in names))
        table.add_section()
        table.add_row("mean", *(_number(scores[name]) for name in names))
        return table
    for name in names:
        of_classes = [columns[name].get(label) for label in labels]
        table.add_row(name, *map(_number, [*of_classes, scores[name]]))
    return table


def print_scores(title: str, scores: Mapping[str, Any]) -> None:
    """Print the table, and below it the scores that have no classes, and intervals."""
    console = Console(soft_wrap=True)
    console.print(score_table(title, scores))
    single = {
        name: value
        for name, value in scores.items()
        if isinstance(value, float) and f"{name}_per_class" not in scores
    }
    lines = ["  ".join(f"{name} {_number(value)}" for name, value in single.items())]
    for name in scores:
        if name.endswith("_per_class"):
            classes = by_class(scores, name.removesuffix("_per_class"))
            absent = [label for label, score in classes.items() if not _finite(score)]
            if 0 < len(absent) < len(classes):
                lines.append(f"in no mean, for want of pixels: {', '.join(absent)}")
            break
    if "distances_in" in scores:
        lines.append(f"distances in {scores['distances_in']}")
    for name, value in scores.items():
        if name.endswith("_interval"):
            low, high = (_number(end) for end in value)
            shown = name.removesuffix("_interval")
            lines.append(f"{shown}: 95 % interval over cases {low} to {high}")
        elif name.endswith("_cases_left_out") and value:
            lines.append(f"{name.removesuffix('_cases_left_out')}: {value} cases left out")
    for line in filter(None, lines):
        console.print(line, markup=False, highlight=False)


def by_class(
    scores: Mapping[str, Any], name: str, class_names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Scores of one metric by class name (by number where no names are known)."""
    values = scores.get(f"{name}_per_class") or {}
    if isinstance(values, Mapping):
        return {str(label): value for label, value in values.items()}
    labels = class_names or [str(number) for number in range(len(values))]
    return dict(zip(labels, values, strict=True))


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _number(value: Any) -> str:
    return f"{value:.3f}" if _finite(value) else "-"
