"""PyTorch's pickles read as plain dictionaries, and tensors that do not have their numbers yet.

Unpickling calls whatever a file names. Here a file can name what is listed below and nothing else,
and each of these names leads to a stand-in of ours that keeps what it is given, or forgets it.
"""

import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NoReturn

from jaxseg.errors import UserError, first_line

STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}  # fmt: skip
"""numpy's names of what PyTorch's storages hold; quantized ones are missing, and so refused."""

DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)

FORGOTTEN = {
    "argparse.Namespace", "types.SimpleNamespace", "collections.deque", "_codecs.encode",
    "copyreg._reconstructor", "torch.device", "torch.Size", "torch.Tensor", "torch.strided",
    "torch.nn.parameter.Parameter", "numpy.dtype", "numpy.ndarray",
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(f"pathlib.{kind}{name}" for kind in ("", "Pure") for name in ("PosixPath", "WindowsPath")),
    *(f"pathlib._local.{name}" for name in ("PosixPath", "WindowsPath")),
    *(f"builtins.{name}" for name in ("object", "set", "frozenset", "slice", "complex", "range")),
    *(f"builtins.{name}" for name in ("bytearray", "list", "tuple", "int", "float", "str", "bool")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in (
        "scalar", "_reconstruct")),
    *(f"{home}.AttributeDict" for home in (
        "pytorch_lightning.utilities.parsing", "lightning_fabric.utilities.data",
        "lightning.fabric.utilities.data", "lightning.pytorch.utilities.parsing")),
}  # fmt: skip
"""What lies beside tensors in training's checkpoints: read over, never made."""

MOST_AXES = 64
"""Axes that numpy has."""

PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}

_DAMAGE = (pickle.UnpicklingError, EOFError, TypeError, AttributeError, ValueError, IndexError)
_DAMAGE += (KeyError, OverflowError, MemoryError, RecursionError, ImportError)
"""What a pickle that is cut off or no pickle at all makes the two readers of it raise."""


class Dictionary(dict):
    """Any of Python's dictionaries; attributes such as ``_metadata`` are forgotten."""

    def __init__(self, *given: Any) -> None:
        super().__init__()
        for one in given:  # Counter and the OrderedDict of Python 2; a defaultdict has its factory
            if isinstance(one, dict | list):
                self.update(one)

    def __setstate__(self, state: Any) -> None: ...


class Forgotten:
    """An object of which nothing is kept but what it was to be, ``of``."""

    of = ""

    def __new__(cls, *_: Any, **__: Any) -> "Forgotten":
        """Take whatever the real one would."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None:
        """Forget an item."""


@dataclass(frozen=True)
class Kept:
    """What a file may hand on but not change."""

    def __setstate__(self, state: Any) -> NoReturn:
        raise TypeError("no state is set on it")


@dataclass(frozen=True)
class Call(Kept):
    """A function of PyTorch that a file may call: ours, in its stead."""

    function: Callable[..., Any]

    def __call__(self, *given: Any) -> Any:
        """Give what the function gives; a TypeError is damage."""
        return self.function(*given)


@dataclass(frozen=True)
class Dtype(Kept):
    """A kind of number, by numpy's name."""

    name: str


@dataclass(frozen=True)
class Storage(Kept):
    """``numel`` numbers from the ``start``-th on of those that the file has under ``key``."""

    key: str
    dtype: str
    numel: int
    start: int = 0


@dataclass(frozen=True)
class Tensor(Kept):
    """A strided view of a storage; offset and strides count numbers of the ``dtype``."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    conjugate: bool = False
    negative: bool = False


class _Unpickler(pickle.Unpickler):
    """Knows the names above, and notes the storages by key."""

    def __init__(self, file: BufferedIOBase, path: Path) -> None:
        super().__init__(file)  # pyright: ignore
        self._path = path
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; UserError that says the name where there is none."""
        asked = f"{PYTHON_2.get(module, module)}.{name}"
        if asked in ("collections.OrderedDict", "collections.defaultdict", "collections.Counter"):
            return Dictionary
        if asked == "builtins.dict":
            return Dictionary
        if asked in _CALLS:
            return _CALLS[asked]
        if module in ("torch", "torch.storage", "torch.cuda") and name in STORAGES:
            return Dtype(STORAGES[name])
        if module == "torch" and name in DTYPES:
            return Dtype(name)
        if asked in FORGOTTEN:
            return type("Forgotten", (Forgotten,), {"of": asked})
        raise UserError(
            f"{self._path}: asks for {asked}, which no weights need; nothing of it was run. Save "
            "the state_dict alone, best as .safetensors"
        )

    def persistent_load(self, pid: Any) -> Storage:
        """A storage, from ("storage", kind, key, device, numel, view or None)."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise ValueError(f"a reference {str(pid)[:40]!r} that is no storage")
        _, kind, key, _, numel, *view = pid
        if not isinstance(kind, Dtype) or not isinstance(key, str) or not _count(numel):
            raise ValueError("a storage that is none")
        storage = self.storages.setdefault(key, Storage(key, kind.name, numel))
        if storage != Storage(key, kind.name, numel):
            raise ValueError(f"two kinds of storage under one key, {key}")
        if not view or view[0] is None:
            return storage
        _, start, length = view[0]
        if not _count(start, length) or start + length > numel:
            raise ValueError("a part of a storage that is not in it")
        return replace(storage, numel=length, start=start)


def unpickled(file: BufferedIOBase, path: Path) -> tuple[Any, dict[str, Storage]]:
    """The object at the file's place, and its storages by key; the file then stands behind it.

    UserError, naming ``path``, for a name that is not known here and for what is no pickle.
    """
    start = file.tell()
    unpickler = _Unpickler(file, path)
    try:
        _check(file)
        file.seek(start)
        return unpickler.load(), unpickler.storages
    except _DAMAGE as error:
        raise UserError(
            f"{path}: a truncated or damaged PyTorch file ({first_line(error)}); copy it again"
        ) from error


def _check(file: Any) -> None:
    """Refuse a pickle that would pass by ``find_class``, or fill the memory."""
    for count, (opcode, value, _) in enumerate(pickletools.genops(file)):
        if opcode.name.startswith("EXT"):  # copyreg has a cache of its own for these
            raise ValueError(f"it asks for extension {value} of copyreg")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(value or 0) > count:
            raise ValueError("a memo of more entries than there are")  # made whole, up to 32 GiB


def _count(*numbers: Any) -> bool:
    return all(type(number) is int and 0 <= number < 2**62 for number in numbers)


# --- what stands for PyTorch's functions ----------------------------------------------------------


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any = None, __: Any = None, more: Any = ()
) -> Tensor:
    """``torch._utils._rebuild_tensor_v2``; ``more`` says of views what is not in the numbers."""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return _view(storage, offset, size, stride, storage.dtype, more)


def _tensor_of_dtype(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, more: Any = ()
) -> Tensor:
    """``torch._utils._rebuild_tensor_v3``: the storage is of bytes."""
    if not isinstance(storage, Storage) or not isinstance(dtype, Dtype):
        raise ValueError("a tensor without a storage or dtype")
    return _view(storage, offset, size, stride, dtype.name, more)


def _view(storage: Storage, offset: Any, size: Any, stride: Any, dtype: str, more: Any) -> Tensor:
    tuples = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not tuples or len(size) > MOST_AXES or not _count(offset, *size, *stride):
        raise ValueError("a tensor whose size or strides are none")
    flags = dict(more or ())
    if flags.keys() - {"conj", "neg"}:
        raise ValueError(f"a tensor with {', '.join(map(str, flags))}, which is not known here")
    conj, neg = bool(flags.get("conj")), bool(flags.get("neg"))
    return Tensor(storage, offset, size, stride, dtype, conj, neg)


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError("a parameter that is no tensor")
    return data


def _of_type(function: Any, _: Any, given: Any, __: Any) -> Tensor:
    """``torch._tensor._rebuild_from_type_v2``: a tensor with attributes, which are left."""
    if not isinstance(function, Call) or not isinstance(given, tuple):
        raise ValueError("a tensor that no function of PyTorch makes")
    return _parameter(function(*given))


_CALLS = {
    "torch._utils._rebuild_tensor": Call(_tensor),
    "torch._utils._rebuild_tensor_v2": Call(_tensor),
    "torch._utils._rebuild_tensor_v3": Call(_tensor_of_dtype),
    "torch._utils._rebuild_parameter": Call(_parameter),
    "torch._utils._rebuild_parameter_with_state": Call(_parameter),
    "torch._tensor._rebuild_from_type_v2": Call(_of_type),
}
