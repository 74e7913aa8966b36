"""batch.png: examples as the network is fed with them, and their labels drawn over them."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from jaxseg import disk, sharding
from jaxseg.recipes import Recipe
from jaxseg.report.figures import GREY, class_colors, flat, overlay, shown
from jaxseg.step import TrainState
from jaxseg.types import IGNORE, Batch

EXAMPLES = 8
"""Examples that are shown of a batch."""

ACROSS = 4
"""Examples beside each other."""

LEAST, MOST, GAP = 192, 512, 8
"""Pixels of an example's longer side, between which it is shown pixel by pixel, and between two."""

PAPER = 255


def seen(recipe: Recipe, state: TrainState, batch: Batch) -> Batch:
    """The first examples of a batch as the network sees them at the step that follows ``state``.

    As they are fed, where a recipe has no ``seen`` as `Supervised` has. Traceable.
    """
    own = getattr(recipe, "seen", None)
    batch = batch._replace(streams=None) if own is None else own(state, batch)
    return jax.tree.map(lambda x: x[:EXAMPLES], batch)


def fetched(recipe: Recipe, state: TrainState, batch: Batch) -> Batch:
    """`seen`, on the host of every process; ``state`` and ``batch`` lie on one mesh."""
    whole = sharding.replicated(state.step.sharding.mesh)
    look = jax.jit(lambda state, batch: seen(recipe, state, batch), out_shardings=whole)
    return jax.device_get(look(state, batch))


def write_batch(path: str | Path, batch: Batch, class_names: Sequence[str]) -> None:
    """The picture of a batch on the host, whole or not at all."""
    with disk.replacing(Path(path)) as beside:
        Image.fromarray(picture_of(batch, class_names)).save(beside, format="png")


def picture_of(batch: Batch, class_names: Sequence[str]) -> UInt8[np.ndarray, "height width 3"]:
    """Each of the first examples above itself with its label; IGNORE grey; then the classes.

    Class 0 is left as the image is. Of other than three channels the first is shown, of a volume
    the middle slice. Small examples are enlarged and large ones thinned by a whole number.
    """
    labels, rank = np.asarray(batch.label)[:EXAMPLES], np.ndim(batch.label) - 1
    tiles = []
    for image, label in zip(np.asarray(batch.image), labels, strict=False):
        image, label = flat(image, rank), flat(label, rank)
        both = (shown(image), overlay(image, label))
        tiles.append(np.concatenate([_scaled(one) for one in both]))
    rows = [_padded(tiles[at : at + ACROSS]) for at in range(0, len(tiles), ACROSS)]
    width = max(row.shape[1] for row in rows)
    rows = [_wide(row, width) for row in rows]
    legend = _legend(np.unique([flat(label, rank) for label in labels]), class_names, width)
    return np.concatenate([*rows, legend])


def _scaled(picture: np.ndarray) -> np.ndarray:
    longest = max(picture.shape[:2])
    if longest > MOST:
        step = -(-longest // MOST)
        return picture[::step, ::step]
    times = -(-LEAST // longest)
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def _padded(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """The tiles beside each other, a gap after each and below all."""
    gaps = ((0, GAP), (0, GAP), (0, 0))
    return np.concatenate([np.pad(t, gaps, constant_values=PAPER) for t in tiles], axis=1)


def _wide(row: np.ndarray, width: int) -> np.ndarray:
    return np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=PAPER)


def _legend(present: np.ndarray, class_names: Sequence[str], width: int) -> np.ndarray:
    """The colours and names of the classes that occur, a line as long as the picture is wide."""
    colors, side = class_colors(int(present.max(initial=0)) + 1), 12
    entries, x, y = [], 0, 0
    for k in present.tolist():
        named = class_names[k] if class_names else f"class {k}"
        name = "ignored" if k == IGNORE else f"{named} (not drawn)" if k == 0 else str(named)
        color = {IGNORE: GREY, 0: (PAPER,) * 3}.get(k, tuple(colors[k].tolist()))
        long = 2 * side + int(ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength(name)) + GAP
        if x and x + long > width:
            x, y = 0, y + side + GAP
        entries.append((x, y, name, color))
        x += long
    drawn = Image.new("RGB", (width, y + side + GAP), (PAPER,) * 3)
    pen = ImageDraw.Draw(drawn)
    for x, y, name, color in entries:
        pen.rectangle((x, y, x + side, y + side), fill=color, outline=GREY)
        pen.text((x + side + GAP // 2, y), name, fill=(0, 0, 0))
    return np.asarray(drawn)
