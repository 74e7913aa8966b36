"""The pictures of a run: progress.png, samples.png, and label maps laid over images.

matplotlib is imported where it draws, and only its figures are used: no pyplot, no global state.
"""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxseg import disk
from jaxseg.report.records import read_metrics
from jaxseg.types import IGNORE

GREY = (128, 128, 128)
"""Pixels to ignore."""

# Okabe & Ito 2008 (told apart by the colour-blind); class 0 is mostly background.
FIRST = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115),
    (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip

PANELS = {
    "loss": lambda name: "loss" in name and not name.startswith("validation/"),
    "validation scores": lambda name: (
        name.startswith("validation/") and not name.endswith("_cases_left_out")
    ),
    "images a second": lambda name: name == "images_per_second",
    "learning rate": lambda name: name == "learning_rate",
}


def class_colors(count: int) -> UInt8[np.ndarray, "count 3"]:
    """A colour a class, none of them grey; the first eight for the colour-blind too."""
    more = [
        colorsys.hsv_to_rgb(0.618034 * n % 1, 0.55 + 0.4 * (n % 2), 0.95 - 0.3 * (n // 2 % 2))
        for n in range(max(0, count - len(FIRST)))
    ]
    rest = [tuple(round(255 * value) for value in color) for color in more]
    return np.asarray([*FIRST, *rest][:count], np.uint8).reshape(count, 3)


def paint(label: Int[np.ndarray, "*spatial"]) -> UInt8[np.ndarray, "*spatial 3"]:
    """A label map in the colours of its classes, IGNORE grey."""
    colors = class_colors(max(int(label.max(initial=0)), 0) + 1)
    assert IGNORE == -1  # so it finds the last colour
    return np.concatenate([colors, [GREY]]).astype(np.uint8)[label]


def shown(image: Float[np.ndarray, "*spatial c"]) -> UInt8[np.ndarray, "*spatial 3"]:
    """An image of any range as RGB: three channels as they are, of others the first as grey.

    Stretched from the 0.5 to the 99.5 percentile of what is finite.
    """
    image = image if image.shape[-1] == 3 else image[..., :1]
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(image, (0.5, 99.5)) if image.size else (0.0, 1.0)
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    grey = np.rint(255 * scaled).astype(np.uint8)
    return np.broadcast_to(grey, (*grey.shape[:-1], 3))


def overlay(
    image: Float[np.ndarray, "*spatial c"],
    label: Int[np.ndarray, "*spatial"],
    *,
    opacity: float = 0.45,
) -> UInt8[np.ndarray, "*spatial 3"]:
    """The classes' colours over the image; class 0 leaves it as it is."""
    picture = shown(image).astype(np.float32)
    mixed = (1 - opacity) * picture + opacity * paint(label)
    return np.rint(np.where((label == 0)[..., None], picture, mixed)).astype(np.uint8)


def write_samples(path: str | Path, samples: Sequence[Any], class_names: Sequence[str]) -> None:
    """A row a sample `(image [*spatial c], label, prediction)`; the middle slice of a volume."""
    from matplotlib.patches import Patch

    shapes = [np.shape(sample[1])[-2:] for sample in samples] or [(1, 1)]
    heights = [3 * float(np.clip(h / w, 0.3, 2)) for h, w in shapes]
    figure = _figure(9.0, sum(heights) + 0.8)
    axes = figure.subplots(len(shapes), 3, squeeze=False, height_ratios=heights)
    for axis, title in zip(axes[0], ("image", "label", "prediction"), strict=True):
        axis.set_title(title)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (image, label, prediction) in zip(axes, samples, strict=False):
        image, label, prediction = (np.asarray(part) for part in (image, label, prediction))
        if label.ndim == 3:
            image, label, prediction = (part[len(part) // 2] for part in (image, label, prediction))
        for axis, part in zip(row, (shown(image), paint(label), paint(prediction)), strict=True):
            axis.imshow(part, interpolation="nearest")
    colors = class_colors(len(class_names)) / 255
    handles = [
        Patch(facecolor=color, edgecolor="grey", label=name)
        for color, name in zip(colors, class_names, strict=True)
    ]
    if any((np.asarray(sample[1]) == IGNORE).any() for sample in samples):
        handles.append(Patch(facecolor="#808080", edgecolor="grey", label="ignored"))
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    _save(figure, path)


def write_progress(path: str | Path, metrics: str | Path) -> None:
    """Loss, scores, throughput and learning rate over steps, as far as metrics.jsonl has them."""
    lines = read_metrics(metrics)
    figure = _figure(11.0, 7.0)
    for axis, (title, belongs) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        names = _shown_names([name for name in _names(lines) if belongs(name)])
        for name in names:
            points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
            steps, values = zip(*points, strict=True) if points else ((), ())
            mean = name.count("/") < 2  # validation/dice, not validation/dice/nucleus
            axis.plot(
                steps,
                values,
                marker="." if len(points) < 50 else None,
                linewidth=1.8 if mean else 0.8,
                alpha=1 if mean else 0.6,
                label=name.removeprefix("validation/") if mean or len(names) <= 10 else None,
            )
        if len(names) > 1:
            axis.legend(fontsize="small")
        if title == "validation scores":
            axis.set_ylim(0, max(1.0, axis.get_ylim()[1]))  # distances may be named too
    _save(figure, path)


def _names(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for line in lines for name in line))


def _shown_names(names: list[str]) -> list[str]:
    """All means, but the classes of one score only: `validation/dice/nucleus`."""
    first = next((name.rpartition("/")[0] for name in names if name.count("/") > 1), "")
    return [name for name in names if name.count("/") < 2 or name.rpartition("/")[0] == first]


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _save(figure: Any, path: str | Path) -> None:
    """Whole or not at all: somebody may be looking at the old picture."""
    with disk.replacing(Path(path)) as beside:
        figure.savefig(beside, format="png")
