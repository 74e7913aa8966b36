"""From an image of any size to its label map: sliding windows, tiling, flips.

An image is cut into overlapping windows, the logits of the windows are averaged with weights that
fall towards the window's edge, and the label map is the argmax. Everything on the device is one
jitted function whose memory is bounded: the sum of weighted logits lies in the carry of a loop,
and `window_batch` windows of each image pass through the network at once.

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
from collections.abc import Mapping
from typing import Any

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
    rank = image.ndim - 2
    window = window_of(tiles, rank)
    tile = output_size(model, window)
    b, *padded, _ = image.shape
    room = [n - w + t for n, w, t in zip(padded, window, tile, strict=True)]
    # The floor of the product, which rounding puts just below a whole number: 20 * (1 - 0.8).
    stride = [max(1, math.floor(t * (1 - tiles.overlap) + 1e-6)) for t in tile]
    most = math.prod(-(-(n - t) // s) + 1 for n, t, s in zip(room, tile, stride, strict=True))
    together = min(tiles.window_batch, most)
    profiles = [window_profile(t, tiles.weighting) for t in tile]
    weight = functools.reduce(np.multiply.outer, profiles)[..., None]
    starts = functools.partial(window_starts, size=size, tile=tile, stride=stride)
    side = {name: jnp.repeat(rows, together, axis=0) for name, rows in side.items()}

    def body(step: Array, total: Array) -> Array:
        start, active = starts(step * together + jnp.arange(together))  # [b n rank], [b n]
        x = jax.vmap(jax.vmap(functools.partial(_cut, window=window), (None, 0)))(image, start)
        x = x.reshape(b * together, *window, image.shape[-1])
        y = _forward(model, variables, tiles, x, side)
        y = y.reshape(b, together, *tile, -1) * weight.reshape(1, 1, *weight.shape)
        y = jnp.where(active.reshape(b, together, *(1,) * (rank + 1)), y, 0)
        for n in range(together):
            total = jax.vmap(_add)(total, y[:, n], start[:, n])
        return total

    steps = -(-jnp.max(jnp.prod(window_counts(size, tile, stride), axis=-1)) // together)
    zero = jnp.zeros((b, *room, model.num_classes), jnp.float32)
    total = jax.lax.fori_loop(0, steps, body, zero)
    # The grid of windows is a product of axes, so its sum of weights is a product of vectors.
    for axis, profile in enumerate(profiles):
        cover = window_cover(size[:, axis], profile, stride[axis], room[axis])
        shape = [b, *(1,) * (rank + 1)]
        shape[1 + axis] = room[axis]
        total = total / cover.reshape(shape)
    return total


def label_map(
    model: Any,
    variables: Any,
    image: Float[Array, "b *padded c"],
    size: Int[Array, "b rank"],
    tiles: Tiles,
) -> Int[Array, " b *bucket"]:
    """Argmax of `windowed`; pure, to go into the caller's jit beside `Confusion.of`."""
    return jnp.argmax(windowed(model, variables, image, size, tiles), axis=-1).astype(jnp.int32)


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
