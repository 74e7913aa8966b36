"""One file on disk -> one array: PNG, JPEG, BMP, TIFF (stacks, 16 bit), NIfTI, NumPy.

Axes are as the file has them, channels last: ``[h w c]``, ``[d h w c]`` for the pages of a TIFF,
``[x y z c]`` for NIfTI. A multi-page TIFF is a volume where the data set has rank 3 and a sequence
of slices (``page``) where it has rank 2. ``.npy`` files are memory-mapped, so that reading a patch
of a large one costs a patch. Pillow reads 16-bit colour PNG as 8 bit (16-bit grey is kept; store
colour as TIFF). Orientation tags (EXIF, NIfTI affine) are not applied: image and mask
of one pair share the pixel grid, and that is what training needs. Of the header of a NIfTI, only
the size of its voxels is read (`read_spacing`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped

from jaxseg.data.checks import check_finite, few, size
from jaxseg.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".nii", ".nii.gz", ".npy")
MAX_PIXELS = 2**30
"""Above this a compressed file is taken for a decompression bomb. Pillow's own limit, 89 million
pixels, refuses ordinary slides and mosaics."""

Read = TypeVar("Read")


def suffix(path: Path | str) -> str:
    """The suffix by which a reader is chosen, lower case; ``.nii.gz`` is one."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def stem(path: Path | str) -> str:
    """The file's name without its suffix, if that is an image's: ``scan.v2`` has none."""
    name = Path(path).name
    kind = suffix(name)
    return name[: len(name) - len(kind)] if kind in SUFFIXES else name


def list_images(folder: Path | str) -> list[Path]:
    """The image files directly in a folder, by name; hidden and other files are passed over."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = [p for p in folder.iterdir() if suffix(p) in SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise UserError(f"{folder}: holds no image ({' '.join(SUFFIXES)})")
    return sorted(found)


def pages(path: Path | str, *, rank: int = 2) -> int | None:
    """Number of slices, if the file is a stack of images of ``rank``; None for a single image."""
    if suffix(path) not in (".tif", ".tiff"):
        return None
    layout, shape = _reading(path, lambda p: _tiff_layout(p))
    spatial = [n for axis, n in zip(layout, shape, strict=True) if axis not in "SC"]
    return int(np.prod(spatial[:-rank])) if len(spatial) > rank else None


def read_image(
    path: Path | str, *, rank: int = 2, channels: int | None = None, page: int | None = None
) -> Shaped[np.ndarray, "*spatial c"]:
    """An image in the dtype of its file (float64 becomes float32), alpha dropped.

    ``channels``: grey is repeated to any number, three colours become ITU-R 601 luma at one.
    Palettes are resolved to colours. Raises UserError for a file that is missing, truncated, no
    image, of another rank, or that holds NaN or infinity.
    """
    array = _reading(path, lambda p: _decode(p, rank, page, mask=False))
    array = _with_channel_axis(array, rank, str(path))
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    array = _as_channels(array, channels, str(path))
    if not isinstance(array, np.memmap):  # its patches are checked instead
        check_finite(array, str(path))
    return array


def read_mask(
    path: Path | str, *, rank: int = 2, page: int | None = None
) -> Shaped[np.ndarray, "..."]:
    """Indices ``[*spatial]``, or colours ``[*spatial 3]`` if the file holds them, alpha dropped.

    Palette images give their indices, not their colours.
    """
    array = _reading(path, lambda p: _decode(p, rank, page, mask=True))
    if array.ndim == rank + 1 and array.shape[-1] in (1, 2):
        array = array[..., 0]
    if array.ndim == rank + 1 and array.shape[-1] in (3, 4):
        return array[..., :3]
    if array.ndim != rank:
        raise UserError(f"{path}: a mask of {size(array.shape)} where {rank} axes are expected")
    return array


def read_spacing(path: Path | str, *, rank: int) -> tuple[float, ...] | None:
    """Millimetres from pixel to pixel along each spatial axis, by the header of a NIfTI.

    None of any other file, and where the header holds no positive sizes. A header that names no
    unit is taken for one in millimetres, as everybody writes.
    """
    if suffix(path) not in (".nii", ".nii.gz"):
        return None
    zooms, unit = _reading(path, _zooms)
    sizes = [size * _MILLIMETRES.get(unit, 1.0) for size in zooms[:rank]]
    if len(sizes) < rank or not all(0 < size < np.inf for size in sizes):
        return None
    return tuple(round(size, 6) for size in sizes)  # float32 in the file: 0.7 is 0.69999999


def _reading(path: Path | str, read: Callable[[Path], Read]) -> Read:
    """Decoders raise what they like; here it becomes the one line that names the file."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return read(path)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: truncated, or not an image ({why})") from error


def _decode(path: Path, rank: int, page: int | None, *, mask: bool) -> np.ndarray:
    kind = suffix(path)
    if kind in (".tif", ".tiff"):
        return _tiff(path, rank, page, mask=mask)
    if page is not None:
        raise UserError(f"{path}: only a TIFF holds pages")
    if kind in (".nii", ".nii.gz"):
        return _nifti(path)
    if kind == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return array if isinstance(array, np.ndarray) else np.asarray(array)
    return _pillow(path, mask=mask)


def _pillow(path: Path, *, mask: bool, frame: int = 0) -> np.ndarray:
    from PIL import Image

    # The limit is global in Pillow; a higher one set by the program stays.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, MAX_PIXELS)
    with Image.open(path) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise UserError(f"{path}: over 2^30 pixels; cut it into tiles or store it as .npy")
        opened.seek(frame)
        opened.load()  # decodes every byte: a truncated file ends here
        image: Image.Image = opened
        if image.mode in ("P", "PA") and not mask:
            image = image.convert("RGBA")  # resolves a transparent palette without a warning
        elif image.mode == "1":
            image = image if mask else image.convert("L")
        elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa"):
            image = image.convert("RGB")
        array = np.asarray(image)
    if image.mode in ("LA", "La", "PA"):
        array = array[..., 0]
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    return array[..., :3] if array.ndim == 3 else array


def _tiff_layout(path: Path) -> tuple[str, tuple[int, ...]]:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        return series.axes, series.shape


def _tiff(path: Path, rank: int, page: int | None, *, mask: bool) -> np.ndarray:
    """``[*spatial c?]``: the whole file, or the one page that is asked for."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        _refuse_truncated(series, path)
        axes, colormap = series.axes, series.keyframe.colormap
        one = page is not None and len(series.pages) == series.shape[0] and axes[0] not in "YXSC"
        array = _tiff_pixels(series, path, page if one else None, mask=mask)
    if one:
        axes, page = axes[1:], None
    if colormap is not None and not mask and array.dtype in (np.uint8, np.uint16):
        return np.moveaxis(colormap[:, array], 0, -1)
    channel = next((c for c in "SC" if c in axes), None)
    if channel is not None:
        array = np.moveaxis(array, axes.index(channel), -1)
        axes = axes.replace(channel, "")
        array = array[..., :3] if array.shape[-1] == 4 and channel == "S" else array
    lead = len(axes) - rank
    if page is None and lead > 0:
        raise UserError(f"{path}: a stack of {pages(path, rank=rank)} slices; rank=3 reads volumes")
    return array if page is None else array.reshape(-1, *array.shape[lead:])[page]


def _refuse_truncated(series: Any, path: Path) -> None:
    """tifffile fills what lies beyond the end of a file with zeros."""
    length = path.stat().st_size
    for part in series.pages:
        ends = zip(part.dataoffsets, part.databytecounts, strict=True) if part else ()
        if any(start + count > length for start, count in ends):
            raise UserError(f"{path}: truncated, data beyond the end of the file")


def _tiff_pixels(series: Any, path: Path, page: int | None, *, mask: bool) -> np.ndarray:
    try:
        return series.asarray() if page is None else series.pages[page].asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    # LZW and JPEG inside TIFF need a further package there; Pillow's libtiff knows them
    frames = range(len(series.pages)) if page is None else [page]
    array = np.stack([_pillow(path, mask=mask, frame=frame) for frame in frames])
    return array[0] if len(frames) == 1 else array


def _nifti(path: Path) -> np.ndarray:
    import nibabel

    file = nibabel.load(path)  # type: ignore[attr-defined]
    array = np.asanyarray(file.dataobj)  # type: ignore[attr-defined]  # scaled if the header scales
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return np.asarray(array, array.dtype.newbyteorder("="))


_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def _zooms(path: Path) -> tuple[tuple[float, ...], str]:
    import nibabel

    header = nibabel.load(path).header  # type: ignore[attr-defined]
    zooms = tuple(float(zoom) for zoom in header.get_zooms())  # type: ignore[attr-defined]
    return zooms, str(header.get_xyzt_units()[0])  # type: ignore[attr-defined]


def _with_channel_axis(array: np.ndarray, rank: int, name: str) -> np.ndarray:
    if array.dtype.kind not in "buif":
        raise UserError(f"{name}: holds {array.dtype}; an image is integers or real numbers")
    if array.ndim == rank:
        return array[..., None]
    if array.ndim == rank + 1 and array.shape[-1] <= 64:
        return array
    raise UserError(f"{name}: {size(array.shape)} is no image of rank {rank}; set the data's rank")


def _as_channels(image: np.ndarray, channels: int | None, name: str) -> np.ndarray:
    have = image.shape[-1]
    if have == 2 and channels in (1, 3):  # grey and alpha
        image, have = image[..., :1], 1
    if channels is None or have == channels:
        return image
    if have == 1:
        return np.broadcast_to(image, (*image.shape[:-1], channels), subok=True)
    if have == 3 and channels == 1:
        luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
        whole = np.issubdtype(image.dtype, np.integer)
        return (np.rint(luma) if whole else luma).astype(image.dtype)[..., None]
    raise UserError(f"{name}: {few([have])} channels; the data set says channels={channels}")
