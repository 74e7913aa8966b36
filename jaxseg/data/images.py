"""One file on disk -> one array: PNG, JPEG, BMP, TIFF (stacks, 16 bit), NIfTI, NumPy.

Axes are as the file has them, channels last: ``[h w c]``, ``[d h w c]`` for the pages of a TIFF
(`jaxseg.data.tiff`), ``[x y z c]`` for NIfTI. A multi-page TIFF is a volume where the data set has
rank 3 and a sequence of slices (``page``) where it has rank 2. ``.npy`` files are memory-mapped, so
that reading a patch of a large one costs a patch. Orientation tags (EXIF, TIFF) are applied, to
image and mask alike (`jaxseg.data.orientation`). The affine of a NIfTI is not: image and mask of a
pair share the grid of voxels, and a pair whose affines differ is refused (`refuse_apart`).

What a header claims is held against the file and the machine before pixels are decoded.
"""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped

from jaxseg.data import claims, orientation, tiff
from jaxseg.data.checks import check_finite, size
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
    return _reading(path, lambda p: tiff.count(p, rank))


def read_image(
    path: Path | str, *, rank: int = 2, channels: int | None = None, page: int | None = None
) -> Shaped[np.ndarray, "*spatial c"]:
    """An image in the dtype of its file (float64 becomes float32), alpha dropped.

    ``channels``: grey is repeated to any number, three colours become ITU-R 601 luma at one.
    Palettes are resolved to colours. Raises UserError for a file that is missing, truncated, no
    image, of another rank, or that holds NaN or infinity.
    """
    array = _reading(path, lambda p: _decode(p, rank, page, mask=False))
    if array.dtype.kind not in "buif":
        raise UserError(f"{path}: holds {array.dtype}; an image is integers or real numbers")
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
    if array.shape[-1] == 1:
        return array[..., 0]
    if array.shape[-1] != 3:
        raise UserError(
            f"{path}: a mask of {array.shape[-1]} channels; one of class numbers or three of "
            "colours are read"
        )
    return array


TOLERANCE = 0.1
"""Voxels by which the corners of an image and of its mask may lie apart."""


def refuse_apart(image: Path | str, mask: Path | str) -> None:
    """Refuse NIfTI files whose affines put their voxels in different places.

    Where either states no place (neither sform nor qform), or is no NIfTI, there is nothing to
    compare.
    """
    if not all(suffix(path) in (".nii", ".nii.gz") for path in (image, mask)):
        return
    here, there = _reading(image, _affine), _reading(mask, _affine)
    if here is None or there is None:
        return
    (first, spatial), (second, _) = here, there
    corners = np.array(list(itertools.product(*((0, n - 1) for n in spatial), (1,)))).T
    apart = np.linalg.norm(((first - second) @ corners)[:3], axis=0).max()
    width = np.linalg.norm(first[:3, :3], axis=0).min()
    if not apart <= TOLERANCE * width:
        raise UserError(
            f"{mask}: its affine puts the voxels up to {apart:.3g} mm from those of its image "
            f"{image}, more than {TOLERANCE} voxels; resample one onto the grid of the other"
        )


def _affine(path: Path) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """Millimetres by index and the size of the grid; None where the header states no place."""
    import nibabel

    file: Any = nibabel.load(path)  # type: ignore[attr-defined]
    header = file.header
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        return None
    grid = (*file.shape[:3], *(1,) * (3 - len(file.shape)))
    return file.affine * _MILLIMETRES.get(str(header.get_xyzt_units()[0]), 1.0), grid


def read_turn(path: Path | str) -> int:
    """The orientation tag, 1 to 8, of a picture; 1 where it has none."""
    return _reading(path, _turn)


def _turn(path: Path) -> int:
    kind = suffix(path)
    if kind in (".tif", ".tiff"):
        return tiff.turn(path)
    if kind in (".nii", ".nii.gz", ".npy"):
        return 1
    from PIL import Image

    with Image.open(path) as picture:
        return orientation.of_picture(picture)


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
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{path}: needs more memory than is free") from error
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: truncated, or not an image ({why})") from error


def _decode(path: Path, rank: int, page: int | None, *, mask: bool) -> np.ndarray:
    """The image ``[*spatial c]`` of ``rank`` spatial axes, upright."""
    kind = suffix(path)
    if kind in (".tif", ".tiff"):
        array = tiff.read(path, rank, page, mask=mask)
    elif page is not None:
        raise UserError(f"{path}: only a TIFF holds pages")
    elif kind in (".nii", ".nii.gz"):
        array = _nifti(path, rank)
    elif kind == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.ndim == rank:  # a file says nothing of its axes
            array = array[..., None]
    else:
        array = _picture(path, mask=mask)
    if array.ndim != rank + 1 or (kind == ".npy" and array.shape[-1] > 64):
        found = array.shape if kind == ".npy" else array.shape[:-1]
        raise UserError(f"{path}: {size(found)} is no image of rank {rank}; set the data's rank")
    return array


PIXELS = {"PNG": claims.DEFLATE * 8, "JPEG": 1024, "MPO": 1024, "BMP": 1024}
"""Pixels that one byte of a file may become, by its format."""


def _picture(path: Path, *, mask: bool) -> np.ndarray:
    """The picture ``[h w c]`` without alpha, upright."""
    from PIL import Image

    # The limit is global in Pillow; a higher one set by the program stays.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, MAX_PIXELS)
    with Image.open(path) as opened:
        pixels = opened.width * opened.height
        if pixels > MAX_PIXELS:
            raise UserError(f"{path}: over 2^30 pixels; cut it into tiles or store it as .npy")
        ratio = PIXELS.get(opened.format or "")
        claims.refuse_claim(path, claimed=pixels, stored=path.stat().st_size, ratio=ratio)
        claims.refuse_large(path, pixels * 4)  # bytes of a pixel in Pillow
        turn = orientation.of_picture(opened)
        opened.load()  # decodes every byte: a truncated file ends here
        array = _pixels(opened, path, mask=mask)
    if array.ndim == 2:
        array = array[..., None]
    array = orientation.upright(array, turn)
    return np.asarray(array, array.dtype.newbyteorder("="))


def _pixels(image: Any, path: Path, *, mask: bool) -> np.ndarray:
    """Grey or colours of a loaded Pillow image."""
    depth, kind = _png_header(path)
    if depth == 16 and kind in (2, 4, 6):  # Pillow reads these as 8 bits
        import imagecodecs

        deep = imagecodecs.png_decode(path.read_bytes())
        return deep[..., :3] if kind in (2, 6) else deep[..., 0]
    if image.mode in ("P", "PA") and not mask:
        image = image.convert("RGBA")  # resolves a transparent palette without a warning
    elif image.mode == "1":
        image = image if mask else image.convert("L")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa"):
        image = image.convert("RGB")
    array = np.asarray(image)
    if mask and kind == 0 and depth in (2, 4):  # Pillow scales them to 8 bits
        array = array // (255 // ((1 << depth) - 1))
    if image.mode in ("LA", "La", "PA"):
        array = array[..., 0]
    return array[..., :3] if array.ndim == 3 else array


def _png_header(path: Path) -> tuple[int, int]:
    """Bits a sample and colour type of a PNG; (0, -1) of another file."""
    with path.open("rb") as file:
        head = file.read(26)
    return (head[24], head[25]) if head[:4] == b"\x89PNG" and len(head) == 26 else (0, -1)


def _nifti(path: Path, rank: int) -> np.ndarray:
    """The volume ``[x y z c]``; ``[x y c]`` of one slice."""
    import nibabel

    file: Any = nibabel.load(path)  # type: ignore[attr-defined]
    proxy, shape = file.dataobj, tuple(file.shape)
    count = math.prod(shape)
    stored = path.stat().st_size
    ratio = 1 if suffix(path) == ".nii" else claims.DEFLATE
    kind = np.dtype(proxy.dtype)
    claims.refuse_claim(path, claimed=count * kind.itemsize, stored=stored, ratio=ratio)
    scaled = (proxy.slope, proxy.inter) != (1, 0)
    claims.refuse_large(path, count * (8 if scaled else kind.itemsize))
    array = np.asanyarray(proxy)  # scaled if the header scales
    array = np.asarray(array, array.dtype.newbyteorder("="))
    if array.dtype.names:  # colours
        array = np.stack([array[name] for name in array.dtype.names if name in "RGB"], -1)
        shape = (*shape, *(1,) * (4 - len(shape)), 3)
    space, rest = shape[:3], [n for n in shape[3:] if n != 1]
    if len(rest) > 1:
        raise UserError(f"{path}: {size(shape)} has two axes beyond space")
    if rank == 2 and len(space) == 3:
        if space[2] > 1:
            raise UserError(f"{path}: a volume of {space[2]} slices; rank=3 reads volumes")
        space = space[:2]
    return array.reshape(*space, rest[0] if rest else 1)


_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def _zooms(path: Path) -> tuple[tuple[float, ...], str]:
    import nibabel

    header = nibabel.load(path).header  # type: ignore[attr-defined]
    zooms = tuple(float(zoom) for zoom in header.get_zooms())  # type: ignore[attr-defined]
    return zooms, str(header.get_xyzt_units()[0])  # type: ignore[attr-defined]


def _as_channels(image: np.ndarray, channels: int | None, name: str) -> np.ndarray:
    have = image.shape[-1]
    if channels is None or have == channels:
        return image
    if have == 1:
        return np.broadcast_to(image, (*image.shape[:-1], channels), subok=True)
    if have == 3 and channels == 1:
        luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
        whole = np.issubdtype(image.dtype, np.integer)
        return (np.rint(luma) if whole else luma).astype(image.dtype)[..., None]
    raise UserError(f"{name}: {have} channels; the data set says channels={channels}")
