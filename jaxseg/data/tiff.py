"""TIFF: one picture reads as one array, whatever its compression, photometric and axis order.

Axes become ``[..., t, z, y, x, c]``: channels (of ImageJ and OME) and samples go last, and the
others keep their order before time, depth, height and width. `tifffile` parses, `imagecodecs`
decodes; what they leave as it is stored (white as 0, inks, palettes, orientation, alpha) is
resolved here.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.data import claims, colors, orientation
from jaxseg.data.checks import size
from jaxseg.errors import UserError

RATIOS = {"NONE": 1, "PACKBITS": 65, "LZW": 4096, "JPEG": 8192, "OJPEG": 8192} | {
    name: claims.DEFLATE for name in ("DEFLATE", "ADOBE_DEFLATE")
}
"""Bytes that one byte may become, of the compressions that know a bound."""

BANDS = {"RGB": 3, "YCBCR": 3, "SEPARATED": 4}
"""Samples that make a colour; of any other photometric, one."""

KNOWN = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "MASK", "SEPARATED", "YCBCR", "LINEAR_RAW")

ALPHA = (1, 2)
"""ExtraSamples that are opacity: associated and not."""


@dataclass(frozen=True)
class Layout:
    """Where the axes of a file go: ``lead`` first, then ``space``, then ``last``, by position."""

    lead: tuple[int, ...]
    space: tuple[int, ...]
    last: tuple[int, ...]
    shape: tuple[int, ...]
    sampled: bool

    @property
    def count(self) -> int:
        """Pictures of the rank in the file."""
        return math.prod(self.shape[axis] for axis in self.lead)


def count(path: Path, rank: int) -> int | None:
    """Number of pictures of ``rank`` in the file; None for one that is no stack of them."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        layout = _layout(_series(tiff, path), rank)
    return layout.count if layout.lead else None


def read(path: Path, rank: int, page: int | None, *, mask: bool) -> np.ndarray:
    """``[*spatial c]``, upright: the whole file or the one page that is asked for."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = _series(tiff, path)
        layout, first = _layout(series, rank), series.keyframe
        if page is None and layout.lead:
            what = "slices; rank=3 reads volumes" if rank == 2 else "volumes; store each in a file"
            raise UserError(f"{path}: a stack of {layout.count} {what}")
        _refuse_claims(series, layout, path)
        stored = _stored(tiff, series, layout, page or 0)
        array = _resolved(stored, first, path, mask=mask)
        turned = _turn(first)
    array = array.reshape(*array.shape[: len(layout.space)], -1)
    if len(layout.space) > 1:
        array = orientation.upright(array, turned)
    return np.asarray(array, array.dtype.newbyteorder("="))


def turn(path: Path) -> int:
    """The file's orientation tag."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        return _turn(_series(tiff, path).keyframe)


def _turn(page: Any) -> int:
    return orientation.valid(getattr(page.tags.get(orientation.TAG), "value", 1))


def _series(tiff: Any, path: Path) -> Any:
    """The pictures of the file; refuses a file of several that do not belong together."""
    first, *rest = tiff.series
    rest = [s for s in rest if not (s.keyframe.is_reduced or s.keyframe.is_mask)]
    if rest and first.kind in ("generic", "uniform", "shaped"):
        raise UserError(
            f"{path}: holds pictures of several sizes or kinds ({size(first.shape)}, then "
            f"{size(rest[0].shape)}); store each in a file of its own"
        )
    said = (tiff.imagej_metadata or {}).get("images", 1) if tiff.is_imagej else 1
    have = math.prod(first.shape) // max(math.prod(first.keyframe.shape), 1)
    if isinstance(said, int) and said > have:
        raise UserError(f"{path}: truncated, its header claims {said} images and it holds {have}")
    return first


def _layout(series: Any, rank: int) -> Layout:
    axes, page = list(series.axes), series.keyframe
    sampled = page.samplesperpixel > 1
    if "S" in axes and not sampled:  # a name that somebody gave, for no samples of a pixel
        axes[axes.index("S")] = "C"
    if sampled:
        planar = int(page.planarconfig) == 2
        axes[len(axes) - 1 - ((3 if page.is_volumetric else 2) if planar else 0)] = "S"
    order = {"T": 1, "Z": 2, "Y": 3, "X": 4}
    space = [i for i, axis in enumerate(axes) if axis not in "CS"]
    space.sort(key=lambda i: order.get(axes[i], 0))
    last = [i for i, axis in enumerate(axes) if axis == "C"]
    last += [i for i, axis in enumerate(axes) if axis == "S"]
    lead = max(len(space) - rank, 0)
    return Layout(
        tuple(space[:lead]), tuple(space[lead:]), tuple(last), tuple(series.shape), sampled
    )


def _refuse_claims(series: Any, layout: Layout, path: Path) -> None:
    """Hold what the header claims against the file: tifffile fills what is missing with zeros."""
    length, first = path.stat().st_size, series.keyframe
    if series.dataoffset is not None:
        ends = [series.dataoffset + series.nbytes]
        stored, ratio = series.nbytes, 1
    else:
        ends, stored, empty, ratio = [], 0, False, RATIOS.get(first.compression.name)
        for part in series.pages:
            if part is None:
                raise UserError(f"{path}: truncated, fewer pages than its header claims")
            if len(part.dataoffsets) < math.prod(part.chunked):
                raise UserError(f"{path}: truncated, fewer strips than its header claims")
            ends += [a + b for a, b in zip(part.dataoffsets, part.databytecounts, strict=True)]
            stored += sum(part.databytecounts)
            empty |= not all(part.databytecounts)
        if empty:  # sparse: a part that is not stored is 0
            ratio = None
    if any(end > length for end in ends):
        raise UserError(f"{path}: truncated, data beyond the end of the file")
    bits = math.prod(layout.shape) * first.bitspersample
    claims.refuse_claim(path, claimed=bits // 8, stored=stored, ratio=ratio)
    decoded = math.prod(layout.shape) * first.dtype.itemsize // max(layout.count, 1)
    claims.refuse_large(path, decoded)


def _stored(tiff: Any, series: Any, layout: Layout, page: int) -> np.ndarray:
    """One picture ``[*spatial *last]`` of the file, of which no more than its pages is decoded."""
    lead = tuple(layout.shape[axis] for axis in layout.lead)
    chosen = dict(zip(layout.lead, np.unravel_index(page, lead), strict=True)) if lead else {}
    kept = [axis for axis in range(len(layout.shape)) if axis not in chosen]
    index = tuple(int(chosen[a]) if a in chosen else slice(None) for a in range(len(layout.shape)))
    inner = series.keyframe.shape
    outer = layout.shape[: len(layout.shape) - len(inner)]
    by_page = layout.shape[len(outer) :] == inner and math.prod(outer) == len(series.pages)
    if series.dataoffset is not None:
        kind = series.dtype.newbyteorder(tiff.byteorder)
        mapped = tiff.filehandle.memmap_array(kind, layout.shape, offset=series.dataoffset)
        array = np.array(mapped[index])
    elif by_page and all(axis < len(outer) for axis in chosen):
        numbers = np.arange(len(series.pages)).reshape(outer)[index[: len(outer)]]
        pages = [series.pages[int(number)].asarray() for number in numbers.reshape(-1)]
        array = np.stack(pages).reshape(*numbers.shape, *inner)
    else:
        array = series.asarray()[index]
    return array.transpose([kept.index(axis) for axis in (*layout.space, *layout.last)])


def _resolved(array: np.ndarray, page: Any, path: Path, *, mask: bool) -> np.ndarray:
    """Stored samples as grey or colours, with a last axis for them, alpha dropped."""
    if page.samplesperpixel == 1:
        array = array[..., None]
    kind, bits = page.photometric.name, page.bitspersample
    if kind not in KNOWN:
        raise UserError(f"{path}: a TIFF of {kind} pixels; store it as grey or RGB")
    whole = array.dtype.kind in "bu"
    if kind in ("MINISWHITE", "SEPARATED", "YCBCR") and not whole:
        raise UserError(f"{path}: {array.dtype} pixels of {kind}; store it as grey or RGB")
    bands = BANDS.get(kind, 1)
    extra = [int(sample) for sample in page.extrasamples]
    bands = min(max(array.shape[-1] - len(extra), bands), array.shape[-1])
    more = [bands + i for i, sample in enumerate(extra) if sample not in ALPHA]
    color, rest = array[..., :bands], array[..., more]
    if kind == "MINISWHITE":
        color = colors.inverted(color, bits)
    elif kind == "PALETTE" and not mask and page.colormap is not None:
        color, bits = colors.from_palette(color[..., 0], page.colormap), 8
    elif kind == "SEPARATED":
        color = _from_inks(color, page, path)
    elif kind == "YCBCR" and page.compression.name not in ("JPEG", "OJPEG"):
        color = colors.from_ycbcr(color)
    if rest.shape[-1]:
        color = np.concatenate([color, rest], -1)
    if mask:
        return color.astype(np.uint8) if color.dtype == bool else color
    return colors.widened(color, bits)


def _from_inks(inks: np.ndarray, page: Any, path: Path) -> np.ndarray:
    ink_set = getattr(page.tags.get("InkSet"), "value", 1)
    if inks.shape[-1] != 4 or int(ink_set) != 1:
        raise UserError(f"{path}: {inks.shape[-1]} inks that are not CMYK; store it as RGB")
    return colors.from_cmyk(inks)
