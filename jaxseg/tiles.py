"""How an image is cut into overlapping windows: sizes on the host, the grid on the device.

The host mirrors each image up to a *bucket* size (`bucket`), and the true size is a traced argument
of the grid: one bucket is one compilation, whatever the sizes inside it. The windows cover just the
true size, so the rest of the bucket costs memory but no time.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from jaxseg.errors import UserError, require
from jaxseg.types import IGNORE, ValidConvolutions, covering_size, output_size

Spatial = tuple[int, ...]


@dataclass(frozen=True)
class Tiles:
    """How an image is cut and put together again.

    `window` is what the network sees at once, in pixels an axis (None: the whole image). `overlap`
    is the share of a window's logits that the next window along an axis predicts again, in [0, 1).
    `window_batch` windows of every image in the batch run together: more is faster where the
    device has room. `tta` averages over all flips, 2 ** rank passes; `dropout_samples` over as many
    passes with dropout on (0: off), each over the flips where there are any. The draws are the same
    at every call, and depend on how many windows go together.
    """

    window: Spatial | None = None
    overlap: float = 0.5
    weighting: Literal["gaussian", "uniform"] = "gaussian"
    window_batch: int = 4
    tta: bool = False
    dropout_samples: int = 0

    def __post_init__(self):
        """Refuse what cannot be swept."""
        if self.window is not None:
            object.__setattr__(self, "window", tuple(int(n) for n in self.window))
            fine = min(self.window, default=0) >= 1
            require(fine, "window", self.window, "at least 1 along every axis")
        require(0 <= self.overlap < 1, "overlap", self.overlap, "at least 0 and below 1")
        known = "gaussian", "uniform"
        require(self.weighting in known, "weighting", self.weighting, "'gaussian' or 'uniform'")
        require(self.window_batch >= 1, "window_batch", self.window_batch, "at least 1")
        require(self.dropout_samples >= 0, "dropout_samples", self.dropout_samples, "at least 0")


WHOLE = Tiles()
"""The whole image at once, without flips."""


def bucket(model: Any, shape: Spatial, tiles: Tiles) -> Spatial:
    """Size to which an image of size `shape` is padded (the size of its logits on the device).

    With a window: a multiple of the size of the window's logits, and the multiple has at most
    three significant bits (1, 2, ... 8, 10, 12, 14, 16, 20, ...), so that sizes from 1 to 64
    windows make 20 buckets an axis and no axis grows by more than a quarter beyond its multiple.
    Without a window: the size itself (of valid convolutions: the smallest logits that cover it).
    """
    if tiles.window is None:
        return output_size(model, covering_size(model, shape))
    tile = output_size(model, window_of(tiles, len(shape)))
    return tuple(t * _three_bits(-(-n // t)) for n, t in zip(shape, tile, strict=True))


STEP = 16
"""Pixels that an axis of a case's own grid is rounded up to, where the network has another."""


def rounded(shape: Spatial) -> Spatial:
    """A size that many share: a multiple of `STEP` with at most three significant bits."""
    return tuple(STEP * _three_bits(-(-n // STEP)) for n in shape)


LARGEST_WHOLE = 2**21
"""Pixels up to which an image passes at once where no window is named."""

EDGES = {2: 512, 3: 96}
"""Edge of the windows of larger images, by rank."""


def affordable(model: Any, shape: Spatial, tiles: Tiles, *, least: Spatial | None = None) -> Tiles:
    """`tiles`, but with a window for an image that is too large to pass at once.

    The window is no smaller than `least`, the size that the network was trained on; networks of
    valid convolutions take few sizes, so theirs is `least` itself.
    """
    if tiles.window is not None or math.prod(shape) <= LARGEST_WHOLE:
        return tiles
    edge = EDGES.get(len(shape), 96)
    if isinstance(model, ValidConvolutions):
        window = least or covering_size(model, (edge,) * len(shape))
    else:
        at_least = least or (edge,) * len(shape)
        window = tuple(min(max(edge, w), n) for w, n in zip(at_least, shape, strict=True))
    return replace(tiles, window=window)


def pad_case(
    model: Any,
    image: Shaped[np.ndarray, "*spatial c"],
    label: Int[np.ndarray, "*spatial"] | None = None,
    *,
    tiles: Tiles,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """One case made ready for `inference.windowed`: image, label, true size (int32 `[rank]`).

    The image is mirrored up to its bucket, and by the margin that valid convolutions take away on
    every side; the label is IGNORE outside the true size.
    """
    shape = image.shape[:-1]
    target = bucket(model, shape, tiles)
    window = covering_size(model, shape) if tiles.window is None else tiles.window
    margins = [w - n for w, n in zip(window, output_size(model, window), strict=True)]
    pads = [
        (margin // 2, margin - margin // 2 + to - n)
        for margin, to, n in zip(margins, target, shape, strict=True)
    ]
    padded = np.pad(np.asarray(image, np.float32), [*pads, (0, 0)], mode="reflect")
    if label is not None:
        outside = [(0, to - n) for to, n in zip(target, shape, strict=True)]
        label = np.pad(np.asarray(label, np.int32), outside, constant_values=IGNORE)
    return padded, label, np.asarray(shape, np.int32)


def _three_bits(count: int) -> int:
    step = 1 << max(0, count.bit_length() - 3)
    return -(-count // step) * step


def window_of(tiles: Tiles, rank: int) -> Spatial:
    """The window; UserError where it is not one of an image with that many axes."""
    window = tiles.window
    if window is None or len(window) != rank:
        raise UserError(f"window={window}: the image has {rank} spatial axes, so give {rank} sizes")
    return window


# ---------------------------------------------------------------- the grid, on the device


def window_profile(tile: int, weighting: str) -> np.ndarray:
    """Weights along one axis, all positive; Gaussian of sigma = tile / 8 as in nnU-Net.

    nnU-Net cuts the Gaussian to 0 at 4 sigma and lifts it to the least positive value; the edge
    lies at 4 sigma, so without the cut it stays at exp(-8).
    """
    if weighting == "uniform":
        return np.ones(tile, np.float32)
    offset = np.arange(tile) - (tile - 1) / 2
    return np.exp(-0.5 * np.square(offset / (tile / 8))).astype(np.float32)


def window_counts(size: Array, tile: Spatial, stride: list[int]) -> Array:
    """The number of windows along each axis, `[b rank]`."""
    beyond = jnp.maximum(size - jnp.asarray([tile]), 0)
    return -(-beyond // jnp.asarray([stride])) + 1


def window_starts(
    index: Array, *, size: Array, tile: Spatial, stride: list[int]
) -> tuple[Array, Array]:
    """First pixel of windows `index [n]` of each row, `[b n rank]`, and whether they exist `[b n]`.

    min(j * stride, size - tile) along each axis; 0 where the image is smaller than the tile.
    """
    counts = window_counts(size, tile, stride)
    active = index[None] < jnp.prod(counts, axis=-1)[:, None]
    rest = jnp.where(active, index[None], 0)
    starts = []
    for axis in reversed(range(len(tile))):
        count = counts[:, axis, None]
        last = jnp.maximum(size[:, axis, None] - tile[axis], 0)
        starts.append(jnp.minimum(rest % count * stride[axis], last))
        rest = rest // count
    return jnp.stack(starts[::-1], axis=-1), active


def window_cover(size: Array, profile: np.ndarray, stride: int, room: int) -> Array:
    """Sum along one axis of the weights of all windows, `[b room]`; 1 where no window comes."""
    tile = len(profile)
    counts = window_counts(size[:, None], (tile,), [stride])  # [b 1]
    index = jnp.arange(-(-(room - tile) // stride) + 1)[None]  # [1 n]
    start = jnp.minimum(index * stride, jnp.maximum(size[:, None] - tile, 0))  # [b n]
    offset = jnp.arange(room)[None, None] - start[..., None]  # [b n room]
    inside = (offset >= 0) & (offset < tile) & (index < counts)[..., None]
    weight = jnp.asarray(profile)[jnp.clip(offset, 0, tile - 1)]
    total = jnp.sum(jnp.where(inside, weight, 0), axis=1)
    return jnp.where(total > 0, total, 1)
