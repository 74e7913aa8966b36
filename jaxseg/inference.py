"""From an image of any size to its label map: sliding windows, tiling, flips.

An image is cut into overlapping windows, the logits of the windows are averaged with weights that
fall towards the window's edge, and the label map is the argmax. Everything on the device is one
jitted function whose memory is bounded: the sum of weighted logits lies in the carry of a loop,
and `window_batch` windows of each image pass through the network at once. Where labels alone are
wanted of a large image, the carry is a slab of it (`label_map`).

What is averaged: **logits over windows** (as nnU-Net v2 and MONAI do, Isensee et al. 2021,
https://github.com/MIC-DKFZ/nnUNet), **probabilities over flips** and over samples of dropout (the
result is the log of their mean). Networks of valid convolutions predict by the overlap-tile
strategy (Ronneberger et al. 2015, figure 2): the image is mirrored at its border, and the tiles of
logits cover it.

One bucket of sizes is one compilation (`jaxseg.tiles`). Without a window the whole image passes at
once, and every distinct size compiles.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxseg import monte_carlo
from jaxseg.errors import UserError
from jaxseg.tiles import (
    WHOLE,
    Spatial,
    Tiles,
    affordable,
    pad_case,
    window_counts,
    window_cover,
    window_of,
    window_profile,
    window_starts,
)
from jaxseg.types import Prediction, output_size

# ---------------------------------------------------------------- on the device: pure functions


def windowed(
    model: Any,
    variables: Any,
    image: Float[Array, "b *padded c"],
    size: Int[Array, "b rank"],
    tiles: Tiles,
    side: Mapping[str, Array] | None = None,
) -> Float[Array, "b *bucket k"]:
    """Merged logits of a batch of images of one bucket, as `pad_case` makes them.

    `side` are further arrays `[b ...]` that the network takes by keyword, the same in every window.

    Pure and to be jitted by the caller, with `model` and `tiles` static. Logits beyond an image's
    true `size` mean nothing (0 where no window came). Rows may be sharded over devices: nothing
    but the loop's length passes between rows. Spatial axes must not be sharded.
    """
    side = dict(side or {})
    if tiles.window is None:
        return _forward(model, variables, tiles, image, side)
    grid, b = _Grid.of(model, image, tiles), len(image)
    most = math.prod(grid.most)
    together = min(tiles.window_batch, most)
    starts = functools.partial(window_starts, size=size, tile=grid.tile, stride=grid.stride)
    logits = _weighted(model, variables, tiles, image, grid, side)

    def body(step: Array, total: Array) -> Array:
        start, active = starts(step * together + jnp.arange(together))  # [b n rank], [b n]
        y = logits(start, active)
        for n in range(together):
            total = jax.vmap(_add)(total, y[:, n], start[:, n])
        return total

    counts = window_counts(size, grid.tile, grid.stride)
    steps = -(-jnp.max(jnp.prod(counts, axis=-1)) // together)
    zero = jnp.zeros((b, *grid.room, model.num_classes), jnp.float32)
    total = jax.lax.fori_loop(0, steps, body, zero)
    # The grid of windows is a product of axes, so its sum of weights is a product of vectors.
    for axis, profile in enumerate(grid.profiles):
        cover = window_cover(size[:, axis], profile, grid.stride[axis], grid.room[axis])
        shape = [b, *(1,) * (image.ndim - 1)]
        shape[1 + axis] = grid.room[axis]
        total = total / cover.reshape(shape)
    return total


SWEPT_FROM = 2**28
"""Merged logits, a row, from which label maps are found slab by slab: 1 GiB of them."""


def label_map(
    model: Any,
    variables: Any,
    image: Float[Array, "b *padded c"],
    size: Int[Array, "b rank"],
    tiles: Tiles,
    side: Mapping[str, Array] | None = None,
) -> Int[Array, " b *bucket"]:
    """Argmax of `windowed`; pure, to go into the caller's jit beside `Confusion.of`.

    Of large images the logits of one row of windows are kept at a time, so that memory does not
    grow with the classes times the volume.
    """
    if tiles.window is not None:
        room = _Grid.of(model, image, tiles).room
        if math.prod(room) * model.num_classes >= SWEPT_FROM:
            return _swept(model, variables, image, size, tiles, dict(side or {}))
    merged = windowed(model, variables, image, size, tiles, side)
    return jnp.argmax(merged, axis=-1).astype(jnp.int32)


def _swept(
    model: Any,
    variables: Any,
    image: Float[Array, "b *padded c"],
    size: Int[Array, "b rank"],
    tiles: Tiles,
    side: Mapping[str, Array],
) -> Int[Array, " b *bucket"]:
    """The label map, one row of windows along the first axis after another.

    A slab as deep as a window holds the sums of what the rows have in common; pixel i of the first
    axis lies at i modulo its depth. The classes of a slab are written where it lies, also of pixels
    that the next row changes, which writes them again. Sums of weights are positive and the same
    for all classes, so the argmax needs no division.
    """
    grid, b = _Grid.of(model, image, tiles), len(image)
    depth, tile, stride = grid.tile[0], grid.tile[1:], grid.stride[1:]
    most = math.prod(grid.most[1:])
    steps = -(-most // tiles.window_batch)
    together = -(-most // steps)  # as many each time
    counts = window_counts(size, grid.tile, grid.stride)
    starts = functools.partial(window_starts, size=size[:, 1:], tile=tile, stride=stride)
    logits = _weighted(model, variables, tiles, image, grid, side)
    last = jnp.maximum(size[:, 0] - depth, 0)
    roll = jax.vmap(functools.partial(jnp.roll, axis=0))

    def body(row: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        labels, slab = found
        here, there = (jnp.minimum(n * grid.stride[0], last) for n in (row, row + 1))
        turn = here % depth

        def some(step: Array, slab: Array) -> Array:
            across, active = starts(step * together + jnp.arange(together))
            first = jnp.broadcast_to(here[:, None, None], (b, together, 1))
            y = logits(jnp.concatenate([first, across], -1), active & (row < counts[:, :1]))
            flat = jnp.concatenate([0 * first, across], -1)
            for n in range(together):
                slab = jax.vmap(_add)(slab, roll(y[:, n], turn), flat[:, n])
            return slab

        windows = jnp.max(jnp.prod(counts[:, 1:], axis=-1))
        slab = jax.lax.fori_loop(0, -(-windows // together), some, slab)
        classes = roll(jnp.argmax(slab, axis=-1).astype(jnp.int32), -turn)
        labels = jax.vmap(_put)(labels, classes, here)
        passed = (jnp.arange(depth)[None] - turn[:, None]) % depth < (there - here)[:, None]
        passed = passed.reshape(b, depth, *(1,) * len(tile), 1)
        return labels, jnp.where(passed, 0, slab)

    slab = jnp.zeros((b, depth, *grid.room[1:], model.num_classes), jnp.float32)
    labels = jnp.zeros((b, *grid.room), jnp.int32)
    return jax.lax.fori_loop(0, jnp.max(counts[:, 0]), body, (labels, slab))[0]


class _Grid(NamedTuple):
    """How windows lie in images of one padded size: all of it static."""

    window: Spatial
    tile: Spatial
    """Size of a window's logits."""
    room: Spatial
    """Size of the merged logits."""
    stride: list[int]
    most: Spatial
    """Windows along each axis of the largest image."""
    profiles: list[np.ndarray]

    @classmethod
    def of(cls, model: Any, image: Array, tiles: Tiles) -> "_Grid":
        window = window_of(tiles, image.ndim - 2)
        tile = output_size(model, window)
        padded = image.shape[1:-1]
        room = tuple(n - w + t for n, w, t in zip(padded, window, tile, strict=True))
        # The floor of the product, which rounding puts just below a whole number: 20 * (1 - 0.8).
        stride = [max(1, math.floor(t * (1 - tiles.overlap) + 1e-6)) for t in tile]
        most = tuple(-(-(n - t) // s) + 1 for n, t, s in zip(room, tile, stride, strict=True))
        return cls(
            window, tile, room, stride, most, [window_profile(t, tiles.weighting) for t in tile]
        )


def _weighted(
    model: Any, variables: Any, tiles: Tiles, image: Array, grid: _Grid, side: Mapping[str, Array]
) -> Callable[[Array, Array], Array]:
    """Weighted logits ``[b n *tile k]`` of windows from ``[b n rank]`` on, 0 where not active."""
    weight = functools.reduce(np.multiply.outer, grid.profiles)[..., None]
    cut = functools.partial(_cut, window=grid.window)

    def logits(start: Array, active: Array) -> Array:
        b, n, rank = start.shape
        x = jax.vmap(jax.vmap(cut, (None, 0)))(image, start)
        x = x.reshape(b * n, *grid.window, image.shape[-1])
        rows = {name: jnp.repeat(value, n, axis=0) for name, value in side.items()}
        y = _forward(model, variables, tiles, x, rows)
        y = y.reshape(b, n, *grid.tile, -1) * weight.reshape(1, 1, *weight.shape)
        return jnp.where(active.reshape(b, n, *(1,) * (rank + 1)), y, 0)

    return logits


def whole_logits(
    model: Any, variables: Any, image: Array, key: Array | None = None, **side: Array
) -> Array:
    """Logits of images that pass at once, with dropout on where a ``key`` is given.

    UserError for a network that gives none.
    """
    if key is None:
        prediction = model.apply(variables, image, train=False, **side)
    else:
        prediction = monte_carlo.sample(model, variables, image, key, **side)
    if not isinstance(prediction, Prediction):
        raise UserError(
            f"{type(model).__name__} returns {type(prediction).__name__} and no Prediction with "
            "logits; its recipe needs a predictor of its own"
        )
    return prediction.logits


def _forward(
    model: Any, variables: Any, tiles: Tiles, x: Array, side: Mapping[str, Array]
) -> Array:
    """Logits of windows; of several passes the log of the mean probability."""
    logits = functools.partial(whole_logits, model, variables, **side)
    if not tiles.tta and not tiles.dropout_samples:
        return logits(x)
    rank = x.ndim - 2
    flips = list(itertools.product((False, True), repeat=rank)) if tiles.tta else [(False,) * rank]
    masks = jnp.asarray(flips * max(tiles.dropout_samples, 1))
    drawn = tiles.dropout_samples > 0
    keys = jax.random.split(jax.random.key(0), len(masks)) if drawn else None

    def flip(x: Array, mask: Array) -> Array:
        for axis in range(rank):
            x = jnp.where(mask[axis], jnp.flip(x, 1 + axis), x)
        return x

    def one(total: Array, turn: tuple[Array, Array | None]) -> tuple[Array, None]:
        mask, key = turn
        y = flip(jax.nn.log_softmax(logits(flip(x, mask), key)), mask)
        return jnp.logaddexp(total, y), None

    out = (x.shape[0], *output_size(model, x.shape[1:-1]), model.num_classes)
    total, _ = jax.lax.scan(one, jnp.full(out, -jnp.inf), (masks, keys))  # compiled once
    return total - math.log(len(masks))


def _cut(image: Array, start: Array, *, window: Spatial) -> Array:
    return jax.lax.dynamic_slice(image, (*start, 0), (*window, image.shape[-1]))


def _put(total: Array, part: Array, first: Array) -> Array:
    return jax.lax.dynamic_update_slice(total, part, (first, *(0,) * (part.ndim - 1)))


def _add(total: Array, tile: Array, start: Array) -> Array:
    at = (*start, 0)
    return jax.lax.dynamic_update_slice(
        total, jax.lax.dynamic_slice(total, at, tile.shape) + tile, at
    )


# ---------------------------------------------------------------- what people call


@functools.partial(jax.jit, static_argnames=("model", "tiles", "give"))
def _run(model: Any, variables: Any, image: Array, size: Array, *, tiles: Tiles, give: str):
    if give == "labels":
        return label_map(model, variables, image, size, tiles)
    merged = windowed(model, variables, image, size, tiles)
    return jax.nn.softmax(merged) if give == "probabilities" else merged


def _predict(model: Any, variables: Any, image: Any, tiles: Tiles, give: str) -> np.ndarray:
    """Pad on the host, run on the devices of `variables`, crop on the host (no compilation)."""
    image = np.asarray(image)
    if not np.issubdtype(image.dtype, np.floating) and image.dtype != jnp.bfloat16:
        raise UserError(
            f"image is {image.dtype}: give float32 as the network was trained on it, "
            "such as image / 255 for 8 bits"
        )
    padded, size = [], []
    for row in image:
        row, _, true = pad_case(model, row, tiles=tiles)
        padded.append(row)
        size.append(true)
    batch = padded[0][None] if len(padded) == 1 else np.stack(padded)  # no second copy of a big one
    out = np.asarray(_run(model, variables, batch, np.stack(size), tiles=tiles, give=give))
    return out[(slice(None), *(slice(n) for n in image.shape[1:-1]))]


def logits(
    model: Any,
    variables: Any,
    image: Shaped[Array | np.ndarray, "b *spatial c"],
    *,
    tiles: Tiles = WHOLE,
) -> Float[np.ndarray, "b *spatial k"]:
    """Merged logits of images of one size, on the host.

    Averaged over windows; with `tta`, log-probabilities (the same softmax, not the same numbers).
    Inputs are float, scaled as in training (`data.normalize`); integers raise UserError.
    """
    return _predict(model, variables, image, tiles, "logits")


def probabilities(
    model: Any,
    variables: Any,
    image: Shaped[Array | np.ndarray, "b *spatial c"],
    *,
    tiles: Tiles = WHOLE,
) -> Float[np.ndarray, "b *spatial k"]:
    """Softmax of `logits`, taken on the device."""
    return _predict(model, variables, image, tiles, "probabilities")


def segment(
    model: Any,
    variables: Any,
    image: Shaped[Array | np.ndarray, "*shape c"],
    window: Spatial | None = None,
    overlap: float = 0.5,
    tta: bool = False,
    *,
    batched: bool = False,
    window_batch: int = 4,
) -> Int[np.ndarray, "*labels"]:
    """Label map of one image, `[*spatial c] -> int32 [*spatial]`.

    `window=None` passes the image at once up to two million pixels, and in windows beyond; name
    the image's own size to pass a larger one at once.

    With `batched=True`, of images of one size, `[b *spatial c] -> [b *spatial]`: a batch of 2-D
    images and one volume look alike, so the rank is never guessed. Only labels leave the device.
    """
    tiles = Tiles(window=window, overlap=overlap, window_batch=window_batch, tta=tta)
    rows = image if batched else image[None]
    tiles = affordable(model, rows.shape[1:-1], tiles)
    labels = np.ascontiguousarray(_predict(model, variables, rows, tiles, "labels"))
    return labels if batched else labels[0]
