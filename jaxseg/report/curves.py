"""progress.png: what metrics.jsonl holds, as curves over steps."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg.metrics import CASE_SCORES
from jaxseg.report.figures import figure, save
from jaxseg.report.records import read_metrics

Line = Mapping[str, Any]

SCORES = "validation/"
LOSS = f"{SCORES}loss"

APART = ("step", "images_per_second", "learning_rate", "gradient_norm")
"""What is no curve among the losses."""

DISTANCES = tuple(f"{SCORES}{name}" for name, score in CASE_SCORES.items() if score.in_mm)
"""Scores that have no place among shares, however small they are."""

LABELLED = 12
"""Curves up to which a panel has a legend."""


def write_progress(path: str | Path, metrics: str | Path, best: str | None = None) -> None:
    """A panel a kind of curve, as far as metrics.jsonl has them.

    ``best`` is the score that is to be high: the first step at which it was highest is marked.
    """
    lines = read_metrics(metrics)
    shown = {title: names for title, names in panels(lines).items() if names}
    across = 3 if len(shown) > 4 else 2
    rows = max(-(-len(shown) // across), 1)
    drawn = figure(5.5 * across, 3.5 * rows)
    axes = list(drawn.subplots(rows, across, squeeze=False).flat)
    at = best_step(lines, best)
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, names) in zip(axes, shown.items(), strict=False):
        axis.set_axis_on()
        _draw(axis, title, names, lines)
        if at is not None and names[0].startswith(SCORES):
            axis.axvline(at, color="grey", linestyle="--", linewidth=1.0)
            axis.set_title(f"{title} (best {best} at step {at})")
    save(drawn, path)


def panels(lines: Sequence[Line]) -> dict[str, list[str]]:
    """The names of the curves of each panel; scores of 0 to 1 never share one with distances."""
    names = list(dict.fromkeys(name for line in lines for name in line if name not in APART))
    losses = [n for n in names if not n.startswith(SCORES)] + [n for n in names if n == LOSS]
    aside = (LOSS, *(n for n in names if n.endswith("_cases_left_out")))
    scores = [n for n in names if n.startswith(SCORES) and n not in aside]
    means = [n for n in scores if n.count("/") == 1]
    unit = [n for n in means if n not in DISTANCES and _within_one(points(lines, n))]
    by_class = [n.split("/", 2)[1] for n in scores if n not in means][:1]
    first = f"{by_class[0]} by class" if by_class else ""
    return {
        "loss": losses,
        "validation scores": unit,
        first: [n for n in scores if by_class and n.startswith(f"{SCORES}{by_class[0]}/")],
        "validation scores of other scales": [n for n in means if n not in unit],
        "images a second": ["images_per_second"] if points(lines, "images_per_second") else [],
        "learning rate": ["learning_rate"] if points(lines, "learning_rate") else [],
    }


def best_step(lines: Sequence[Line], best: str | None) -> int | None:
    """The first step at which the score was highest; None where there is no such score."""
    found = points(lines, f"{SCORES}{best}")
    return max(found, key=lambda point: (point[1], -point[0]))[0] if found else None


def points(lines: Iterable[Line], name: str) -> list[tuple[int, float]]:
    """The steps and values of a curve; those that are NaN stand as null in the file."""
    return [(line["step"], line[name]) for line in lines if line.get(name) is not None]


def _within_one(found: Iterable[tuple[int, float]]) -> bool:
    return all(-1 <= value <= 1 for _, value in found)


def _draw(axis: Any, title: str, names: Sequence[str], lines: Sequence[Line]) -> None:
    axis.set_title(title)
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
    curves = {name: points(lines, name) for name in names}
    for name, found in curves.items():
        steps, values = zip(*found, strict=True) if found else ((), ())
        label = name if name == LOSS else name.split("/", 2)[-1]
        axis.plot(steps, values, marker="." if len(found) < 50 else None, label=label)
    scores = names[0].startswith(SCORES)
    if len(names) <= LABELLED and (scores or len(names) > 1):
        axis.legend(fontsize="small")
    if scores and all(map(_within_one, curves.values())):
        low = min((value for found in curves.values() for _, value in found), default=0.0)
        axis.set_ylim(min(0.0, 1.05 * low), 1.0)
