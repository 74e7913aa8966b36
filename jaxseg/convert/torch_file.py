"""PyTorch's files of weights, zipped and legacy, without torch and without running them.

Such a file is a pickle, which may name any function of any library and have it called. This reader
knows a few names, each of which stands for something inert of its own; any other is refused before
anything is made of it.
"""

import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxseg.errors import UserError, first_line

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a legacy file begins: the magic number, pickled."""

STORAGES: Mapping[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
    "UntypedStorage": np.uint8,
}

DTYPES: Mapping[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    **{f"int{bits}": np.dtype(f"int{bits}").type for bits in (8, 16, 32, 64)},
    "uint8": np.uint8,
    "bool": np.bool_,
}


class _Refused(Exception):
    """A pickle asked for something that no weights need."""


class _Dict(dict):
    """What an OrderedDict becomes; the attributes that a pickle gives it are dropped."""

    def __setstate__(self, state: Any) -> None:
        del state


class _Type:
    """A dtype of a storage or a tensor; it cannot be called."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)


class _Nothing:
    """What stands for a value that is no tensor, such as a device."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        del state


def _tensor(
    storage: np.ndarray, offset: int, size: Any, stride: Any, *_: Any, dtype: Any = None
) -> np.ndarray:
    """A view of a storage; ValueError where it reaches beyond it."""
    flat = storage if dtype is None else storage.view(dtype)
    size, stride = tuple(map(int, size)), tuple(map(int, stride))
    if len(size) != len(stride) or min((*size, *stride, int(offset)), default=0) < 0:
        raise ValueError("a tensor of impossible size")
    last = int(offset) + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= flat.size:
        raise ValueError("a tensor reaches beyond its storage")
    steps = tuple(step * flat.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(flat[int(offset) :], size, steps, writeable=False)


def _tensor_of_bytes(
    storage: np.ndarray,
    offset: int,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    kind: Any,
    *_: Any,
) -> np.ndarray:
    return _tensor(storage, offset, size, stride, dtype=kind.dtype)


def _parameter(data: np.ndarray, *_: Any) -> np.ndarray:
    return data


def _known() -> dict[tuple[str, str], Any]:
    """All that a file may name, and what stands for it here."""
    names: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): _Dict,
        ("torch._utils", "_rebuild_tensor"): _tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_bytes,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
        ("torch", "Size"): lambda sizes=(): tuple(sizes),
        ("torch", "device"): _Nothing,
        ("torch.serialization", "_get_layout"): _Nothing,
        ("argparse", "Namespace"): _Nothing,
        ("_codecs", "encode"): lambda text, coding="latin1": _encoded(text, coding),
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names[module, "scalar"] = _Nothing
        names[module, "_reconstruct"] = _Nothing
    names["numpy", "dtype"] = names["numpy", "ndarray"] = _Nothing
    for name, dtype in STORAGES.items():
        names["torch", name] = names["torch.storage", name] = _Type(dtype)
    for name, dtype in DTYPES.items():
        names["torch", name] = _Type(dtype)
    return names


def _encoded(text: str, coding: str) -> bytes:
    """How pickles of protocol 2 hold bytes."""
    if coding != "latin1":
        raise _Refused(f"_codecs.encode to {coding}")
    return text.encode("latin1")


KNOWN = _known()


class _Unpickler(pickle.Unpickler):
    """Finds nothing but `KNOWN`, and takes storages from where the file has them."""

    def __init__(self, file: Any, storage: Callable[..., Any]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise _Refused(f"{module}.{name}")
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        kind, of, key, _, numel, *view = pid
        if kind != "storage" or not isinstance(of, _Type):
            raise _Refused(f"a stored {kind!r}")
        return self._storage(of.dtype, str(key), int(numel), view[0] if view else None)


BROKEN = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError),
    *(AttributeError, struct.error, zipfile.BadZipFile, OverflowError, MemoryError, RecursionError),
)
"""What a truncated or garbled file raises, here or there."""


def read_torch(path: Path) -> Any:
    """What the file holds: dicts and lists of arrays in the place of tensors, read only.

    UserError names what a pickle asked for that no weights need, and a file that is truncated.
    """
    try:
        if zipfile.is_zipfile(path):
            return _zipped(path)
        return _legacy(path)
    except _Refused as error:
        raise UserError(
            f"{path}: asks for {error}, which no weights need; nothing of it was run. Save "
            "the state_dict alone, best as .safetensors"
        ) from None
    except BROKEN as error:
        raise UserError(
            f"{path}: a truncated or damaged PyTorch file ({first_line(error)}); copy it again"
        ) from error


def _zipped(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        (pickled,) = (name for name in members if name.endswith("data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        order = "little"
        if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") == b"big":
            order = "big"
        held: dict[str, np.ndarray] = {}

        def storage(dtype: np.dtype, key: str, numel: int, view: Any) -> np.ndarray:
            del view
            if key not in held:
                held[key] = np.frombuffer(archive.read(f"{folder}data/{key}"), np.uint8)
            return _typed(held[key], dtype, order, numel)

        return _Unpickler(io.BytesIO(archive.read(pickled)), storage).load()


def _legacy(path: Path) -> Any:
    """Magic number, protocol, system, the object, the keys of its storages, and their numbers.

    The numbers follow the object that is made of them, so it is made twice: first of nothing.
    """
    kinds: dict[str, np.dtype] = {}
    held: dict[str, np.ndarray] = {}

    def first(dtype: np.dtype, key: str, numel: int, view: Any) -> np.ndarray:
        kinds.setdefault(key, dtype)
        return np.lib.stride_tricks.as_strided(np.zeros(1, dtype), (_end(numel, view),), (0,))

    def second(dtype: np.dtype, key: str, numel: int, view: Any) -> np.ndarray:
        whole = held[key].view(dtype)
        return whole if view is None else whole[view[1] : view[1] + view[2]]

    with path.open("rb") as file:
        if _Unpickler(file, first).load() != MAGIC:
            raise UserError(f"{path}: a pickle that PyTorch did not write; save a state_dict")
        _Unpickler(file, first).load()
        little = _Unpickler(file, first).load()["little_endian"]
        begin = file.tell()
        _Unpickler(file, first).load()
        keys = _Unpickler(file, first).load()
        for key in keys:
            order = "little" if little else "big"
            (numel,) = struct.unpack("<q" if little else ">q", file.read(8))
            size = numel * kinds[key].itemsize
            raw = np.frombuffer(file.read(size), np.uint8)
            if raw.size != size:
                raise EOFError(f"storage {key} ends early")
            held[key] = _typed(raw, kinds[key], order, numel)
        file.seek(begin)
        return _Unpickler(file, second).load()


def _end(numel: int, view: Any) -> int:
    return numel if view is None else int(view[2])


def _typed(raw: np.ndarray, dtype: np.dtype, order: str, numel: int) -> np.ndarray:
    """Bytes as numbers of this machine's order; ValueError where there are too few."""
    if raw.size < numel * dtype.itemsize:
        raise ValueError("a storage ends early")
    typed = raw[: numel * dtype.itemsize].view(dtype)
    return typed if order == sys.byteorder else typed.byteswap()
