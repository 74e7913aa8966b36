"""Windows that slide over the spatial axes: where they lie, and what each of their taps sees."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from jaxseg.errors import UserError

Edges = tuple[tuple[Any, Any], ...]
"""What an axis is padded with before and behind."""


def edges(
    layer: str,
    sizes: tuple[Any, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    ceil_mode: bool,
) -> Edges:
    """The padding of each axis, with what the last window of ``ceil_mode`` reaches beyond it.

    As in PyTorch, no window begins behind the image and its front padding. Raises UserError where
    no window fits, or where one could lie in the padding alone.
    """
    if any(2 * p > k for p, k in zip(padding, window, strict=True)):
        raise UserError(
            f"{layer}: padding={padding} is more than half of window={window}; "
            f"up to {tuple(k // 2 for k in window)} fits"
        )
    found = []
    for n, k, s, p in zip(sizes, window, stride, padding, strict=True):
        last = (n + 2 * p - k + (s - 1 if ceil_mode else 0)) // s  # number of the last window
        known = isinstance(n, int)
        if known and last < 0:
            fits = tuple(m + 2 * e for m, e in zip(sizes, padding, strict=True))
            raise UserError(
                f"{layer}: window={window} does not fit an image of {sizes} with "
                f"padding={padding}; windows up to {fits} would"
            )
        if not ceil_mode:
            found.append((p, p))
            continue
        if p + s > k and known and last * s >= n + p:
            last -= 1
        behind = last * s + k - n - p
        found.append((p, max(behind, 0) if known else behind))
    return tuple(found)


def pad(x: Shaped[Array, "b *s c"], edges: Edges, fill: float | int) -> Shaped[Array, "b *t c"]:
    """The image with ``fill`` around it."""
    if all(isinstance(e, int) and e == 0 for pair in edges for e in pair):
        return x
    around = [(0, 0, 0), *((lo, hi, 0) for lo, hi in edges), (0, 0, 0)]
    return jax.lax.pad(x, jnp.array(fill, x.dtype), around)


def taps(
    x: Shaped[Array, "b *s c"], window: tuple[int, ...], stride: tuple[int, ...]
) -> list[Shaped[Array, "b *t c"]]:
    """The strided slice of a padded image that each place in the window sees, last axis fastest."""
    spans = [
        s * ((n - k) // s) + 1  # from the first to the last start of a window
        for n, k, s in zip(x.shape[1:-1], window, stride, strict=True)
    ]
    return [
        jax.lax.slice(
            x,
            (0, *offset, 0),
            (x.shape[0], *(o + n for o, n in zip(offset, spans, strict=True)), x.shape[-1]),
            (1, *stride, 1),
        )
        for offset in itertools.product(*map(range, window))
    ]
