"""Arrays as a file of ``torch.save``, written without torch.

The form is that of PyTorch 1.6 and later: a zip, stored, of ``data.pkl`` (an ordered dict of
tensors), ``data/<number>`` (their numbers), ``version`` and ``byteorder``. The pickle names four
things of PyTorch's own, which ``torch.load(path, weights_only=True)`` allows.
"""

import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "bool": "BoolStorage",
    "uint8": "ByteStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "float16": "HalfStorage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
}
"""What PyTorch calls numbers of a type."""

ALIGNMENT = 64
"""Bytes at whose multiples a tensor's numbers begin, so that they can be mapped into memory."""

HEADER = 30
"""Bytes of a zip's header of a file, before the name."""


def write_torch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name as an ordered dict of tensors; each has numbers of its own.

    Raises KeyError for a dtype that is not in `STORAGES`.
    """
    with zipfile.ZipFile(path, "w") as archive:  # stored: PyTorch reads nothing compressed
        _add(archive, "data.pkl", _pickled(arrays))
        _add(archive, "byteorder", b"little")
        for number, array in enumerate(arrays.values()):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            _add(archive, f"data/{number}", little.tobytes())
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(f"archive/{name}")  # of a fixed date, so that equal weights are equal
    assert archive.fp is not None
    begins = archive.fp.tell() + HEADER + len(info.filename) + 4
    pad = -begins % ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", pad) + b"Z" * pad  # PyTorch's own mark for padding
    archive.writestr(info, content)


# --- the pickle -----------------------------------------------------------------------------------


def _pickled(arrays: Mapping[str, np.ndarray]) -> bytes:
    """``OrderedDict((name, tensor), ...)`` in the second protocol, opcode by opcode."""
    parts = [pickle.PROTO, b"\x02", *_ordered_dict(), pickle.MARK]
    for number, (name, array) in enumerate(arrays.items()):
        parts += [_value(name), *_tensor(number, array)]
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])


def _tensor(number: int, array: np.ndarray) -> Iterator[bytes]:
    """``_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)``."""
    strides = np.empty(array.shape, bool).strides  # of one byte each, so that they count numbers
    yield _global("torch._utils", "_rebuild_tensor_v2")
    yield pickle.MARK
    yield from (pickle.MARK, _value("storage"), _global("torch", STORAGES[array.dtype.name]))
    yield from (_value(str(number)), _value("cpu"), _value(array.size), pickle.TUPLE)
    yield pickle.BINPERSID
    yield from (_value(0), _value(array.shape), _value(strides), _value(False))
    yield from _ordered_dict()
    yield from (pickle.TUPLE, pickle.REDUCE)


def _ordered_dict() -> tuple[bytes, ...]:
    return _global("collections", "OrderedDict"), pickle.EMPTY_TUPLE, pickle.REDUCE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _value(value: Any) -> bytes:
    """A string, number or tuple of numbers, without the frame of a pickle of its own."""
    return pickle.dumps(value, 2)[2:-1]
