"""samples.png: images, labels, predictions, and where the last two differ."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxseg.report.figures import class_colors, figure, flat, paint, save, shown
from jaxseg.types import IGNORE

WRONG = (230, 30, 30)
"""The colour of pixels whose prediction is not the label."""

LONGEST = 36
"""Characters of a case's name that are shown, its last ones."""


def write_samples(path: str | Path, samples: Sequence[Any], class_names: Sequence[str]) -> None:
    """A row a `jaxseg.evaluator.Sample`; the middle slice of a volume."""
    shapes = [np.shape(sample.label)[-2:] for sample in samples] or [(1, 1)]
    shapes = [(1, *shape)[-2:] for shape in shapes]
    heights = [3 * float(np.clip(h / w, 0.3, 2)) for h, w in shapes]
    drawn = figure(12.0, sum(heights) + 0.3 * len(heights) + 0.8)
    axes = drawn.subplots(len(shapes), 4, squeeze=False, height_ratios=heights)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, sample in zip(axes, samples, strict=False):
        _draw(row, sample)
    drawn.legend(
        handles=_legend(samples, class_names), loc="outside lower center", ncols=6, frameon=False
    )
    save(drawn, path)


def _draw(row: Iterable[Any], sample: Any) -> None:
    rank = np.ndim(sample.label)
    parts = (np.asarray(part) for part in (sample.image, sample.label, sample.prediction))
    image, label, prediction = (flat(part, rank) for part in parts)
    score = "" if sample.dice is None else f", Dice {sample.dice:.3f}"
    name = sample.name if len(sample.name) <= LONGEST else "..." + sample.name[-LONGEST:]
    titles = ("worst: " * sample.worst + name, "label", f"prediction{score}", "wrong pixels")
    pictures = (shown(image), paint(label), paint(prediction), errors(image, label, prediction))
    for axis, title, picture in zip(row, titles, pictures, strict=True):
        axis.set_title(title, fontsize="small", parse_math=False)
        axis.imshow(picture, interpolation="nearest")


def errors(
    image: Float[np.ndarray, "*spatial c"],
    label: Int[np.ndarray, "*spatial"],
    prediction: Int[np.ndarray, "*spatial"],
) -> UInt8[np.ndarray, "*spatial 3"]:
    """The image, dimmed, and on it the pixels that are predicted wrongly; IGNORE never is."""
    wrong = (label != prediction) & (label != IGNORE)
    return np.where(wrong[..., None], np.asarray(WRONG, np.uint8), shown(image) // 2)


def _legend(samples: Sequence[Any], class_names: Sequence[str]) -> list[Any]:
    from matplotlib.patches import Patch

    named = zip(class_colors(len(class_names)) / 255, class_names, strict=True)
    handles = [Patch(facecolor=color, edgecolor="grey", label=name) for color, name in named]
    if any((np.asarray(sample.label) == IGNORE).any() for sample in samples):
        handles.append(Patch(facecolor="#808080", edgecolor="grey", label="ignored"))
    if samples:
        handles.append(
            Patch(facecolor="#{:02x}{:02x}{:02x}".format(*WRONG), edgecolor="grey", label="wrong")
        )
    return handles
