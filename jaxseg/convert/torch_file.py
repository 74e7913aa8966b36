"""PyTorch's files of weights, zipped and legacy, without torch and without running them.

What they hold is found by `jaxseg.convert.inert`; storages are read when a tensor is wanted.
"""

import contextlib
import functools
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - numpy then knows bfloat16 and float8 by name
import numpy as np

from jaxseg.convert.inert import Storage, Tensor, unpickled
from jaxseg.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a legacy file begins: the magic number, pickled."""

PROTOCOL = 1001

CHUNK = 2**24
"""Bytes of a record that are read at a time."""

BOMB = 2**24
"""Numbers that a tensor may have beyond those that its storage has (an expanded one)."""


@dataclass(frozen=True)
class Contents:
    """The pickled object, and how the bytes of a storage are had."""

    tree: Any
    raw: Callable[[Storage], np.ndarray]
    swapped: bool = False
    """Whether the bytes of a number stand most significant first."""


def read_torch(path: Path, pick: Callable[[Any], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The tensors that ``pick`` finds among all that the file holds; only these are read.

    UserError names what a pickle asked for that no weights need, and a file that is truncated.
    """
    with _contents(path) as held:
        tensors = {n: one for n, one in pick(held.tree).items() if isinstance(one, Tensor)}
        return {name: _numbers(one, held, f"{path}: {name}") for name, one in tensors.items()}


@contextlib.contextmanager
def _contents(path: Path) -> Iterator[Contents]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _of_zip(path, archive)
    else:
        with path.open("rb") as file:
            yield _of_stream(path, file)


def _numbers(tensor: Tensor, held: Contents, name: str) -> np.ndarray:
    """The array of a tensor; ``name`` is that of file and tensor in an error."""
    dtype, storage = np.dtype(tensor.dtype), tensor.storage
    step = np.dtype(storage.dtype).itemsize
    raw = held.raw(storage)[storage.start * step : (storage.start + storage.numel) * step]
    count, axes = math.prod(tensor.shape), (tensor.shape, tensor.strides)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(*axes, strict=True))
    if count and (last + 1) * dtype.itemsize > len(raw):
        raise UserError(f"{name}: a tensor reaches beyond its storage; copy the file again")
    if count > BOMB + len(raw):
        raise UserError(f"{name} claims {count} numbers of {len(raw)} bytes; refused")
    if not count:
        return np.zeros(tensor.shape, dtype)
    plain = raw[: len(raw) // dtype.itemsize * dtype.itemsize].view(f"V{dtype.itemsize}")
    flat = plain[tensor.offset :]  # without a kind, for as_strided does not know float8
    strides = [s * dtype.itemsize if n > 1 else 0 for n, s in zip(*axes, strict=True)]
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides)
    array = np.array(view, order="C").view(dtype)
    if held.swapped:
        unit = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        array = array.reshape(-1).view(f"u{unit}").byteswap().view(dtype).reshape(tensor.shape)
    array = array.conj() if tensor.conjugate else array
    return -array if tensor.negative else array


def _of_zip(path: Path, archive: zipfile.ZipFile) -> Contents:
    names = archive.namelist()
    found = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
    if len(found) != 1:
        raise UserError(f"{path}: a zip without the one data.pkl that torch.save writes")
    folder = found[0].removesuffix("data.pkl")
    order = _record(path, archive, f"{folder}byteorder") if f"{folder}byteorder" in names else b""
    if bytes(order) not in (b"", b"little", b"big"):
        raise UserError(f"{path}: byteorder {bytes(order)[:20]!r} is not known; copy it again")
    tree, _ = unpickled(BytesIO(_record(path, archive, found[0]).tobytes()), path)

    def raw(storage: Storage) -> np.ndarray:
        size = (storage.start + storage.numel) * np.dtype(storage.dtype).itemsize
        return _record(path, archive, f"{folder}data/{storage.key}", size)

    return Contents(tree, functools.lru_cache(1)(raw), bytes(order) == b"big")


def _record(path: Path, archive: zipfile.ZipFile, name: str, size: int | None = None) -> np.ndarray:
    """The bytes of a record, held against its checksum; ``size`` is what it must have at least."""
    try:
        info = archive.getinfo(name)
        if size is not None and info.file_size < size:
            raise zipfile.BadZipFile(f"{info.file_size} bytes where {size} belong")
        held, at = np.empty(info.file_size, np.uint8), 0
        with archive.open(info) as file:
            while got := file.read(CHUNK):  # at the end it is held against the checksum
                held[at : at + len(got)] = np.frombuffer(got, np.uint8)
                at += len(got)
        if at != info.file_size:
            raise zipfile.BadZipFile("cut off")
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path}: a truncated or damaged PyTorch file (record {name}: {error}); copy it again"
        ) from error
    return held


# --- the stream from before 1.6 -------------------------------------------------------------------


def _of_stream(path: Path, file: BufferedIOBase) -> Contents:
    """Magic number, protocol, the writer's system, object, keys; then each storage's bytes.

    Numbers are least significant byte first whatever the writer's system.
    """
    magic, _ = unpickled(file, path)
    if magic != MAGIC:
        raise UserError(f"{path}: a pickle, but not one of torch.save; save a state_dict with it")
    protocol, _ = unpickled(file, path)
    if protocol != PROTOCOL:
        raise UserError(f"{path}: protocol {str(protocol)[:20]} of torch.save is not known here")
    unpickled(file, path)
    tree, storages = unpickled(file, path)
    keys, _ = unpickled(file, path)
    if not isinstance(keys, list) or set(keys) != set(storages):
        raise UserError(f"{path}: a damaged PyTorch file: its storages are not those that it lists")
    places, size = {}, path.stat().st_size
    for key in keys:
        storage = storages[key]
        length = storage.numel * np.dtype(storage.dtype).itemsize
        count = file.read(8)
        places[key] = file.tell(), length
        if count != storage.numel.to_bytes(8, "little") or file.tell() + length > size:
            raise UserError(
                f"{path}: a truncated or damaged PyTorch file (storage {key}); copy it again"
            )
        file.seek(length, 1)

    def raw(storage: Storage) -> np.ndarray:
        at, length = places[storage.key]
        file.seek(at)
        return np.fromfile(file, np.uint8, length)

    return Contents(tree, functools.lru_cache(1)(raw))
