"""Colours of files that are no RGB, as RGB."""

import numpy as np
from jaxtyping import Num, Shaped, UInt


def from_cmyk(cmyk: UInt[np.ndarray, "*s 4"]) -> UInt[np.ndarray, "*s 3"]:
    """RGB of CMYK without a profile, ``(1 - c) (1 - k)``, in the same dtype."""
    full = np.iinfo(cmyk.dtype).max
    light = full - cmyk.astype(np.uint64)
    rgb = (light[..., :3] * light[..., 3:] + full // 2) // full
    return rgb.astype(cmyk.dtype)


def from_ycbcr(ycbcr: UInt[np.ndarray, "*s 3"]) -> UInt[np.ndarray, "*s 3"]:
    """RGB by ITU-R 601 in full range, as JPEG has it, in the same dtype."""
    full = np.iinfo(ycbcr.dtype).max
    y, cb, cr = (ycbcr[..., i].astype(np.float64) for i in range(3))
    cb, cr = cb - (full + 1) / 2, cr - (full + 1) / 2
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    return np.clip(np.rint(rgb), 0, full).astype(ycbcr.dtype)


def from_palette(
    indices: UInt[np.ndarray, "*s"], table: UInt[np.ndarray, "3 n"]
) -> UInt[np.ndarray, "*s 3"]:
    """Colours of a TIFF's table; 8 bits where that is all it holds, as in a PNG."""
    for high in (257, 256):  # programs write v as v * 257, or shifted
        if not (table % high).any():
            table = (table // high).astype(np.uint8)
            break
    return np.moveaxis(table[:, indices], 0, -1)


def inverted(samples: Shaped[np.ndarray, "..."], bits: int) -> np.ndarray:
    """Samples of ``bits`` bits with black and white exchanged."""
    if samples.dtype == bool:
        return ~samples
    return (np.array((1 << bits) - 1, samples.dtype) - samples).astype(samples.dtype)


def widened(samples: Num[np.ndarray, "..."] | np.ndarray, bits: int) -> np.ndarray:
    """Samples of 1, 2 and 4 bits as 8, so that white is 255; others as they are."""
    if bits not in (1, 2, 4):
        return samples
    return samples.astype(np.uint8) * np.uint8(255 // ((1 << bits) - 1))
