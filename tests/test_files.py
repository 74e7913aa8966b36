"""One picture through every container: whatever holds it, it reads as one array."""

import contextlib
import gzip
import itertools
import tracemalloc
import uuid
import warnings
import zlib

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxseg.data import Folder, claims
from jaxseg.data.images import pages, read_image, read_mask, suffix
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)
SIZE = (24, 40)
GREY = RNG.integers(0, 256, SIZE, dtype=np.uint8)
DEEP = RNG.integers(0, 65536, SIZE, dtype=np.uint16)
RGB = RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
DEEP_RGB = RNG.integers(0, 65536, (*SIZE, 3), dtype=np.uint16)
BITS = RNG.random(SIZE) > 0.5
ALPHA = RNG.integers(0, 256, (*SIZE, 1), dtype=np.uint8)
TABLE = RNG.integers(0, 256, (16, 3), dtype=np.uint8)
INDICES = RNG.integers(0, 16, SIZE, dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[60:180:24j, 40:200:40j], 90), -1).astype(np.uint8)
"""Without edges: JPEG keeps it but for rounding."""

LOSSLESS = ["none", "lzw", "zlib", "packbits", "zstd", "lzma"]


def grey(image):
    """``[... 1]``, or RGB as it is."""
    return image if image.shape[-1] == 3 else image[..., None]


def same(path, expected, **reading):
    got = read_image(path, **reading)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


# --- PNG and BMP ----------------------------------------------------------------------------------


def palette(alpha=None):
    image = Image.fromarray(INDICES).convert("P")
    image.putdata(INDICES.reshape(-1).tolist())
    image.putpalette(TABLE.reshape(-1).tolist())
    if alpha is not None:
        image.info["transparency"] = bytes(alpha)
    return image


def test_a_png_of_every_depth_and_colour_type(tmp_path):
    path = tmp_path / "a.png"
    for array, expected in [
        (GREY, GREY[..., None]),
        (RGB, RGB),
        (np.concatenate([RGB, ALPHA], -1), RGB),
        (np.concatenate([GREY[..., None], ALPHA], -1), GREY[..., None]),
        (DEEP, DEEP[..., None]),
        (DEEP_RGB, DEEP_RGB),
        (np.concatenate([DEEP_RGB, DEEP[..., None]], -1), DEEP_RGB),
        (np.stack([DEEP, DEEP // 2], -1), DEEP[..., None]),
    ]:
        path.write_bytes(imagecodecs.png_encode(array))
        same(path, expected)
    Image.fromarray(BITS).save(path)
    same(path, BITS[..., None].astype(np.uint8) * 255)
    np.testing.assert_array_equal(read_mask(path), BITS)


@pytest.mark.parametrize("alpha", [None, range(0, 256, 17)])
def test_a_palette_png_with_and_without_alpha(tmp_path, alpha):
    palette(alpha).save(tmp_path / "a.png")
    same(tmp_path / "a.png", TABLE[INDICES])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), INDICES)


@pytest.mark.parametrize("bits", [2, 4])
def test_a_grey_png_of_few_bits_is_white_at_255_and_a_mask_of_its_numbers(tmp_path, bits):
    numbers = INDICES % (1 << bits)
    picture = Image.fromarray(numbers).convert("P")
    picture.putdata(numbers.reshape(-1).tolist())
    picture.save(tmp_path / "p.png", bits=bits)
    raw = bytearray((tmp_path / "p.png").read_bytes())
    (tmp_path / "a.png").write_bytes(as_grey(raw))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), numbers)
    same(tmp_path / "a.png", (numbers * (255 // ((1 << bits) - 1)))[..., None])


def as_grey(png):
    """A palette PNG with its header's colour type made grey, and no palette."""
    at, kept = 8, [bytes(png[:8])]
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4]), bytes(png[at + 4 : at + 8])
        body = bytearray(png[at + 8 : at + 8 + length])
        if kind == b"IHDR":
            body[9] = 0
        if kind not in (b"PLTE", b"tRNS"):
            check = zlib.crc32(kind + body).to_bytes(4)
            kept.append(length.to_bytes(4) + kind + bytes(body) + check)
        at += 12 + length
    return b"".join(kept)


def test_a_bmp(tmp_path):
    for array in (GREY, RGB):
        Image.fromarray(array).save(tmp_path / "a.bmp")
        same(tmp_path / "a.bmp", grey(array))


# --- JPEG and EXIF --------------------------------------------------------------------------------


def test_a_jpeg_of_cmyk_is_the_picture(tmp_path):
    rgb = Image.fromarray(SMOOTH)
    rgb.convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - SMOOTH).max() <= 3


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""What is stored where the tag is to bring the upright picture back."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "raw.tif", "lzw.tif"])
def test_every_orientation_is_upright_as_image_and_as_mask(tmp_path, name, orientation):
    path, stored = tmp_path / name, np.ascontiguousarray(TURNED[orientation](SMOOTH))
    if path.suffix == ".tif":
        tags = [(274, "H", 1, orientation, True)]
        compression = "lzw" if name == "lzw.tif" else None
        tifffile.imwrite(path, stored, photometric="rgb", compression=compression, extratags=tags)
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(stored).save(path, exif=exif, quality=100, subsampling=0)
    for read in (read_image, read_mask):
        got = read(path)
        assert got.shape == SMOOTH.shape
        assert np.abs(got.astype(int) - SMOOTH).max() <= (3 if name == "a.jpg" else 0)


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_upright_mask_lies_on_the_upright_image(tmp_path, orientation):
    for kind in ("images", "masks"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    label = (SMOOTH[..., 0] > 110).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNED[orientation](SMOOTH))
    Image.fromarray(stored).save(tmp_path / "train/images/a.jpg", exif=exif, quality=100)
    Image.fromarray(label).save(tmp_path / "train/masks/a.png")
    case = Folder(2).open(str(tmp_path), "train")[0]
    assert case["image"][case["label"] == 1].mean() > case["image"][case["label"] == 0].mean()
    assert np.abs(case["image"].astype(int) - SMOOTH).mean() < 4
    turned = np.ascontiguousarray(TURNED[orientation](label))
    if orientation == 6:  # a mask of the pixels as they are stored
        Image.fromarray(turned).save(tmp_path / "train/masks/a.png")
        with pytest.raises(UserError, match=r"a\.png: .* EXIF orientation 6 is applied .* is 1"):
            Folder(2).open(str(tmp_path), "train")[0]
    Image.fromarray(turned).save(tmp_path / "train/masks/a.png", exif=exif)
    again = Folder(2).open(str(tmp_path), "train")[0]
    np.testing.assert_array_equal(again["label"], label)


# --- TIFF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("layout", ["strips", "tiles", "big-endian"])
def test_a_tiff_in_every_compression(tmp_path, compression, big, layout):
    path = tmp_path / "a.tif"
    how = {"compression": compression, "bigtiff": big}
    how |= {"tile": (16, 16)} if layout == "tiles" else {"rowsperstrip": 5}
    how |= {"byteorder": ">"} if layout == "big-endian" else {}
    for array in (GREY, DEEP, RGB, DEEP_RGB):
        kind = "rgb" if array.ndim == 3 else "minisblack"
        tifffile.imwrite(path, array, photometric=kind, **how)
        same(path, grey(array))
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", **how)
    same(path, RGB)
    tifffile.imwrite(path, 255 - GREY, photometric="miniswhite", **how)
    same(path, GREY[..., None])
    np.testing.assert_array_equal(read_mask(path), GREY)
    tifffile.imwrite(path, 65535 - DEEP, photometric="miniswhite", **how)
    same(path, DEEP[..., None])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits", "group4"])
@pytest.mark.parametrize("white", [0, 1])
def test_a_tiff_of_one_bit(tmp_path, compression, white):
    path = tmp_path / "a.tif"
    compression = None if compression == "raw" else compression
    Image.fromarray(BITS).save(path, compression=compression, tiffinfo={262: white})
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].photometric == white
    with Image.open(path) as shown:
        expected = np.asarray(shown)
    np.testing.assert_array_equal(read_mask(path), expected)
    same(path, expected[..., None].astype(np.uint8) * 255)


@pytest.mark.parametrize("compression", LOSSLESS)
def test_a_tiff_of_a_palette_is_colours_and_as_a_mask_indices(tmp_path, compression):
    for scale in (257, 256):
        table = np.zeros((3, 256), np.uint16)
        table[:, :16] = TABLE.T.astype(np.uint16) * scale
        path = tmp_path / "a.tif"
        tifffile.imwrite(
            path, INDICES, photometric="palette", colormap=table, compression=compression
        )
        same(path, TABLE[INDICES])
        np.testing.assert_array_equal(read_mask(path), INDICES)


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_tiff_of_cmyk_is_rgb(tmp_path, compression, planar):
    ink = RNG.integers(0, 256, (*SIZE, 4), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(ink, "CMYK").convert("RGB"))
    stored = ink if planar == "contig" else np.moveaxis(ink, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="separated",
        planarconfig=planar,
        compression=compression,
    )
    got = read_image(tmp_path / "a.tif")
    assert got.dtype == np.uint8 and np.abs(got.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["rgb", "ycbcr", "minisblack"])
def test_a_tiff_of_jpeg_is_the_picture(tmp_path, kind):
    picture = SMOOTH if kind != "minisblack" else SMOOTH[..., 0]
    stored = np.asarray(Image.fromarray(SMOOTH).convert("YCbCr")) if kind == "ycbcr" else picture
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric=kind,
        compression="jpeg",
        compressionargs={"level": 100},
    )
    got = read_image(tmp_path / "a.tif")
    assert np.abs(got.astype(int) - grey(picture)).max() <= 6


def test_a_tiff_of_ycbcr_without_jpeg_is_rgb(tmp_path):
    stored = np.asarray(Image.fromarray(SMOOTH).convert("YCbCr"))
    tags = [(530, "H", 2, (1, 1), True)]
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="ycbcr", compression="lzw", extratags=tags
    )
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - SMOOTH).max() <= 3


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bands", [2, 4, 5])
def test_bands_that_are_no_alpha_are_channels(tmp_path, compression, planar, bands):
    stack = RNG.integers(0, 65536, (*SIZE, bands), dtype=np.uint16)
    path = tmp_path / "a.tif"
    stored = stack if planar == "contig" else np.moveaxis(stack, -1, 0)
    how = {"planarconfig": planar, "compression": compression}
    tifffile.imwrite(path, stored, photometric="minisblack", **how)
    same(path, stack, channels=bands)
    with pytest.raises(UserError, match=f"{bands} channels; the data set says channels=3"):
        read_image(path, channels=3)


@pytest.mark.parametrize("compression", LOSSLESS)
def test_alpha_is_dropped_where_the_tag_says_that_it_is_alpha(tmp_path, compression):
    path = tmp_path / "a.tif"
    rgba = np.concatenate([RGB, ALPHA], -1)
    for extra, expected in (("unassalpha", RGB), ("assocalpha", RGB), ("unspecified", rgba)):
        how = {"extrasamples": [extra], "compression": compression}
        tifffile.imwrite(path, rgba, photometric="rgb", **how)
        same(path, expected)
        both = np.concatenate([GREY[..., None], ALPHA], -1)
        tifffile.imwrite(path, both, photometric="minisblack", planarconfig="contig", **how)
        same(path, both if extra == "unspecified" else GREY[..., None])


LENGTHS = {"T": 2, "Z": 3, "C": 4, "Y": 24, "X": 40}


def stack(axes):
    shape = [LENGTHS[axis] for axis in axes]
    return RNG.integers(0, 65536, shape, dtype=np.uint16)


def ordered(array, axes, wanted):
    """The array as ``wanted``, of axes it has; channels last."""
    order = [axes.index(axis) for axis in wanted if axis in axes]
    array = array.transpose(order)
    return array if "C" in axes else array[..., None]


ORDERS = [
    "".join(order)
    for n in range(4)
    for chosen in itertools.combinations("TZC", n)
    for order in itertools.permutations(chosen)
]


def check_stack(path, array, axes):
    """The file at rank 2 and rank 3, whole or by pages."""
    whole = ordered(array, axes, "TZYXC")
    slices = whole.reshape(-1, *whole.shape[-3:])
    lead = axes.replace("C", "")[:-2]
    assert pages(path) == (len(slices) if lead else None)
    if not lead:
        same(path, slices[0])
        return
    for page in range(len(slices)):
        same(path, slices[page], page=page)
    with pytest.raises(UserError, match=f"a stack of {len(slices)} slices; rank=3 reads volumes"):
        read_image(path)
    if len(lead) == 1:
        assert pages(path, rank=3) is None
        same(path, whole, rank=3)
        return
    assert pages(path, rank=3) == len(whole)
    for page in range(len(whole)):
        same(path, whole[page], rank=3, page=page)
    with pytest.raises(UserError, match=f"a stack of {len(whole)} volumes"):
        read_image(path, rank=3)


@pytest.mark.parametrize("compression", ["none", "lzw", "zlib"])
@pytest.mark.parametrize("order", ORDERS)
def test_an_ome_hyperstack_in_every_axis_order(tmp_path, order, compression):
    path, axes = tmp_path / "a.ome.tif", order + "YX"
    array = stack(axes)
    how = {"metadata": {"axes": axes}, "photometric": "minisblack", "compression": compression}
    tifffile.imwrite(path, array, ome=True, **how)
    check_stack(path, array, axes)


@pytest.mark.parametrize("compression", ["none", "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("order", ["T", "Z", "C", "TZ", "TC", "ZC", "TZC"])
def test_an_imagej_hyperstack(tmp_path, order, compression):
    path, axes = tmp_path / "a.tif", order + "YX"
    array = stack(axes)
    how = {"metadata": {"axes": axes}, "compression": compression}
    tifffile.imwrite(path, array, imagej=True, **how)
    check_stack(path, array, axes)


@pytest.mark.parametrize("compression", ["none", "lzw", "jpeg"])
def test_an_imagej_stack_of_colours(tmp_path, compression):
    colours = np.stack([SMOOTH, 255 - SMOOTH])
    how = {"compression": compression}
    how |= {"compressionargs": {"level": 100}} if compression == "jpeg" else {}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, colours, photometric="rgb", metadata={"axes": "ZYXS"}, **how)
    near = 4 if compression == "jpeg" else 0
    assert np.abs(read_image(path, rank=3).astype(int) - colours).max() <= near
    assert np.abs(read_image(path, page=1).astype(int) - colours[1]).max() <= near


def test_two_channels_of_imagej_are_none_of_them_alpha(tmp_path):
    array = RNG.integers(0, 256, (2, *SIZE), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "CYX"})
    same(tmp_path / "a.tif", np.moveaxis(array, 0, -1), channels=2)
    for channels in (1, 3):
        with pytest.raises(UserError, match=f"2 channels; the data set says channels={channels}"):
            read_image(tmp_path / "a.tif", channels=channels)
    with pytest.raises(UserError, match="a mask of 2 channels"):
        read_mask(tmp_path / "a.tif")


def test_pictures_that_do_not_belong_together_are_refused_by_name(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(GREY)
        tiff.write(GREY[:9])
    with pytest.raises(UserError, match=r"a\.tif: .* several sizes .*24 x 40, then 9 x 40"):
        read_image(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as tiff:  # an overview is none of them
        tiff.write(GREY)
        tiff.write(GREY[::2, ::2], subfiletype=1)
    same(tmp_path / "b.tif", GREY[..., None])


def test_a_picture_is_no_volume_of_few_columns(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb")
    for name in ("a.png", "a.tif"):
        with pytest.raises(UserError, match=f"{name}: 24 x 40 is no image of rank 3"):
            read_image(tmp_path / name, rank=3)


# --- NIfTI ----------------------------------------------------------------------------------------

VOLUME = RNG.integers(-500, 500, (6, 5, 4)).astype(np.int16)


def nifti(path, array, affine=None, slope=None):
    file = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    if slope is not None:
        file.header.set_slope_inter(*slope)
    nibabel.save(file, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_by_index_whatever_its_affine(tmp_path, name):
    for flips in itertools.product((1.0, -1.0), repeat=3):
        path = nifti(tmp_path / name, VOLUME, np.diag([*flips, 1.0]))
        same(path, VOLUME[..., None], rank=3)
    scaled = nifti(tmp_path / name, VOLUME, slope=(2, 1))
    np.testing.assert_array_equal(read_image(scaled, rank=3)[..., 0], VOLUME * 2.0 + 1)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_of_more_axes_has_channels(tmp_path, name):
    four = RNG.integers(0, 9, (6, 5, 4, 2)).astype(np.int16)
    same(nifti(tmp_path / name, four), four, rank=3)
    same(nifti(tmp_path / name, four[:, :, :, None]), four, rank=3)
    same(nifti(tmp_path / name, four[:, :, :1]), four[:, :, 0])
    same(nifti(tmp_path / name, VOLUME[:, :, :1]), VOLUME[:, :, :1])
    with pytest.raises(UserError, match="6 x 5 x 4 x 2 x 3 has two axes beyond space"):
        read_image(nifti(tmp_path / name, np.zeros((6, 5, 4, 2, 3), np.uint8)), rank=3)
    colour = np.zeros((6, 5, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["G"] = 7
    got = read_image(nifti(tmp_path / name, colour), rank=3)
    assert got.shape == (6, 5, 4, 3) and got[..., 1].min() == 7 and not got[..., ::2].any()


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_no_slice_of_a_nifti_is_lost_at_rank_2(tmp_path, depth, read):
    path = nifti(tmp_path / "a.nii.gz", VOLUME[..., :depth])
    with pytest.raises(UserError, match=f"a volume of {depth} slices; rank=3 reads volumes"):
        read(path)


@pytest.mark.parametrize(
    "change, apart",
    [
        (np.eye(4), False),
        (np.diag([1, 1, 1.01, 1]), False),  # 0.03 mm at the last of four slices
        (np.diag([-1.0, 1, 1, 1]), True),
        (np.diag([1, 1, 1.2, 1]), True),
        (np.eye(4) + 0.05 * np.eye(4, k=3), False),
        (np.eye(4) + 0.2 * np.eye(4, k=3), True),
    ],
)
def test_an_image_and_a_mask_whose_affines_differ_are_refused_by_name(tmp_path, change, apart):
    for kind in ("images", "masks"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    affine = np.array([[0, 2.0, 0, 5], [1, 0, 0, -9], [0, 0, 3, 7], [0, 0, 0, 1]])
    nifti(tmp_path / "train/images/a.nii.gz", VOLUME, affine)
    mask = nifti(tmp_path / "train/masks/a.nii.gz", (VOLUME > 0).astype(np.uint8), affine @ change)
    source = Folder(2, channels=1, rank=3).open(str(tmp_path), "train")
    if not apart:
        np.testing.assert_array_equal(source[0]["label"], VOLUME > 0)
        return
    with pytest.raises(UserError, match=r"masks/a\.nii\.gz: its affine .*images/a\.nii\.gz"):
        source[0]
    plain = nibabel.Nifti1Image((VOLUME > 0).astype(np.uint8), None)  # states no place
    nibabel.save(plain, mask)
    np.testing.assert_array_equal(source[0]["label"], VOLUME > 0)


# --- what a header claims -------------------------------------------------------------------------


def rewritten(path, old, new):
    raw = path.read_bytes()
    assert raw.count(old) >= 1, path
    path.write_bytes(raw.replace(old, new, 1))


def tagged(path, code, value):
    """The TIFF with another number in a tag of its first page."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[code].overwrite(value, dtype="I")


def write_all(folder):
    """The picture in each container, by name."""
    for name in ("a.png", "a.jpg", "a.bmp"):
        Image.fromarray(GREY).save(folder / name)
    for name, compression in (("raw", None), ("lzw", "lzw"), ("zip", "zlib"), ("zstd", "zstd")):
        tifffile.imwrite(folder / f"{name}.tif", GREY, compression=compression)
    stack = np.stack([GREY] * 3)
    how = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(folder / "ij.tif", stack, imagej=True, **how)
    Image.fromarray(BITS).save(folder / "g4.tif", compression="group4")
    for name in ("a.nii", "a.nii.gz"):
        nifti(folder / name, GREY[..., None])
    np.save(folder / "a.npy", GREY)


def claim_png(path):
    raw = path.read_bytes()
    head = b"IHDR" + (30000).to_bytes(4) * 2 + raw[24:29]
    path.write_bytes(raw[:12] + head + zlib.crc32(head).to_bytes(4) + raw[33:])


def claim_nifti(path):
    file = nibabel.load(path)
    raw = bytearray(file.header.binaryblock) + bytes(4 + GREY.size)
    raw[40:56] = np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def claim_imagej(path):
    """One page and the word that more than four gigabytes of them follow."""
    said = "ImageJ=1.54\nimages=9999999\nslices=9999999\n"
    tifffile.imwrite(path, GREY, description=said, metadata=None)


CLAIMS = {
    "a.png": claim_png,
    "a.jpg": lambda p: rewritten(p, b"\x08\x00\x18\x00\x28", b"\x08\x70\x00\x70\x00"),
    "a.bmp": lambda p: rewritten(p, b"\x28\0\0\0\x18\0\0\0", b"\0\x70\0\0\0\x70\0\0"),
    "raw.tif": lambda p: tagged(p, 257, 2**31),
    "lzw.tif": lambda p: tagged(p, 257, 2**31),
    "zip.tif": lambda p: [tagged(p, 257, 2**31), tagged(p, 278, 2**31)],
    "zstd.tif": lambda p: [tagged(p, 257, 2**31), tagged(p, 278, 2**31)],
    "g4.tif": lambda p: [tagged(p, 257, 2**31), tagged(p, 278, 2**31)],
    "ij.tif": claim_imagej,
    "a.nii": claim_nifti,
    "a.nii.gz": claim_nifti,
    "a.npy": lambda p: rewritten(p, b"(24, 40), }          ", b"(2400000, 4000000), }"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_header_that_claims_too_much_is_one_line_before_anything_is_allocated(tmp_path, name):
    write_all(tmp_path)
    path = tmp_path / name
    CLAIMS[name](path)
    rank = 3 if name.startswith(("a.nii", "ij")) else 2
    for read in (read_image, read_mask):
        tracemalloc.start()
        with pytest.raises(UserError, match=rf"{name}: .*(truncated|claims)") as caught:
            read(path, rank=rank)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**25 and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in CLAIMS if name != "a.npy"])
def test_what_is_more_than_half_of_the_memory_is_not_decoded(tmp_path, monkeypatch, name):
    write_all(tmp_path)
    rank = 3 if name.startswith(("a.nii", "ij")) else 2
    read_image(tmp_path / name, rank=rank)
    monkeypatch.setattr(claims, "memory", lambda: GREY.size)
    with pytest.raises(UserError, match=f"{name}: its header claims .* half of this machine's"):
        read_image(tmp_path / name, rank=rank)


@pytest.mark.parametrize("name", CLAIMS)
def test_no_changed_byte_is_anything_but_read_or_refused(tmp_path, name):
    write_all(tmp_path)
    path = tmp_path / name
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    rank = 3 if name.startswith(("a.nii", "ij")) else 2
    for _ in range(60):
        changed = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 600), rng.integers(1, 4)):
            changed[at] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        path = path.with_name(f"{uuid.uuid4().hex}{suffix(name)}")  # none still mapped
        path.write_bytes(changed)
        for read in (read_image, read_mask):
            with contextlib.suppress(UserError), warnings.catch_warnings(action="ignore"):
                read(path, rank=rank)
