"""Files of weights as arrays by name: safetensors, PyTorch's, NumPy's, Keras', and the hub's."""

import functools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from jaxseg.convert.inert import Tensor
from jaxseg.convert.torch_file import LEGACY, read_torch
from jaxseg.errors import UserError, first_line, require, unknown

HUB = "hf://"
"""How names of the Hugging Face hub begin."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""

BESIDE = ("optim", "lr_sched", "scheduler", "scaler", "grad_scaler", "callbacks", "loops")
"""How names begin of what a training program keeps beside its weights; ``key`` may name it."""

Pick = Callable[[Any], Mapping[str, Any]]
"""The dictionary of arrays, or tensors that are not read yet, among all that a file holds."""

KINDS = ".safetensors, PyTorch's .pth, .pt, .bin and .ckpt, .npz, Keras' .h5 and .keras"


def read(path: str | Path, *, key: str = "", prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of a file of weights by their names there; nothing that it holds is run.

    The file's first bytes say what it is, not its name: safetensors, PyTorch's (zipped or legacy),
    ``.npz``, HDF5 of Keras (needs h5py). ``hf://owner/name``, or ``hf://owner/name/file``, or
    ``hf://owner/name@revision``, is a file of the Hugging Face hub (needs huggingface_hub).
    Half-precision floats become float32.

    Where the weights lie in a dictionary among other things, as training programs save them, they
    are found; of several, ``key`` names one, ``"ema.model"`` one further in. Of names that begin
    with ``prefix`` it is taken off, others are left out (`below`); what DataParallel and
    torch.compile put before all goes by itself.

    UserError for a file that cannot be read, that asks for more than weights need, that is
    truncated, or that holds no weights or several; it says which.
    """
    path = _local(path)
    return below(_arrays(path, functools.partial(_picked, key=key, path=path)), prefix, path)


def read_part(path: str | Path, take: str) -> dict[str, np.ndarray]:
    """The arrays of a file below the name ``take``: a dictionary's, or the first of their own.

    ``"ema.backbone"`` is a dictionary's and the keys' in one. "" is `read`.
    """
    path, rest = _local(path), take

    def pick(content: Any) -> Mapping[str, Any]:
        nonlocal rest
        names = [at for at, _ in _candidates(content) if at and f"{take}.".startswith(f"{at}.")]
        key = max(names, key=len, default="")
        rest = take[len(key) :].lstrip(".")
        return _picked(content, key=key, path=path)

    arrays = _arrays(path, pick)
    return below(arrays, f"{rest}." if rest else "", path)


def below(arrays: Mapping[str, Any], prefix: str, path: str | Path) -> dict[str, Any]:
    """The arrays whose names begin with ``prefix``, without it; UserError where none does."""
    found = {n.removeprefix(prefix): one for n, one in arrays.items() if n.startswith(prefix)}
    if arrays and not found:
        raise UserError(f"{path}: no key begins with {prefix!r}; the first is {next(iter(arrays))}")
    return found


def _local(path: str | Path) -> Path:
    require(bool(str(path)), "path", str(path), "a file of weights, or hf://owner/name")
    return downloaded(str(path)) if str(path).startswith(HUB) else Path(path)


def _arrays(path: Path, pick: Pick) -> dict[str, np.ndarray]:
    """What is picked, without what stands before all names because of how the network was run."""
    found = _content(path, pick)
    arrays = {name: _plain(value) for name, value in found.items() if isinstance(value, np.ndarray)}
    while arrays and (before := _wrapper(arrays)):
        arrays = {name.removeprefix(before): value for name, value in arrays.items()}
    return arrays


def _content(path: Path, pick: Pick) -> Mapping[str, Any]:
    """What is picked of all that the file holds, by what it is."""
    if path.is_dir():
        raise UserError(f"{path}: a folder; name the file of the weights in it")
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    if begin.startswith(b"version https://git-lfs"):
        raise UserError(f"{path}: a pointer of Git LFS, not the file; `git lfs pull` fetches it")
    if begin.startswith(b"\x89HDF"):
        return pick(_hdf5(path))
    if begin.startswith(b"PK"):
        return _zip(path, pick)
    if begin.startswith(LEGACY):
        return read_torch(path, pick)
    if begin[8:9] == b"{":
        try:
            return pick(load_file(path))
        except (SafetensorError, OSError, AttributeError) as error:  # float8 has no name in numpy
            raise UserError(f"{path}: damaged safetensors ({first_line(error)})") from error
    if begin[:1] == b"\x80" and begin[1:2] in b"\2\3\4\5":
        raise UserError(
            f"{path}: a pickle that PyTorch did not write; save the state_dict with torch.save, or "
            "as .safetensors"
        )
    what = "an empty file" if not begin else "no file of weights that is known"
    raise UserError(f"{path}: {what}; read are {KINDS}")


def _zip(path: Path, pick: Pick) -> Mapping[str, Any]:
    """PyTorch's, NumPy's and Keras' archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except zipfile.BadZipFile as error:
        raise UserError(f"{path}: a truncated file ({error}); copy it again") from error
    if any(name.endswith("constants.pkl") for name in members):
        raise UserError(
            f"{path}: a program of TorchScript; save its weights: "
            'torch.save(torch.jit.load(FILE).state_dict(), "weights.pth")'
        )
    if any(name.endswith("data.pkl") for name in members):
        return read_torch(path, pick)
    if "model.weights.h5" in members:
        return pick(_hdf5(path, inside="model.weights.h5"))
    if members and all(name.endswith(".npy") for name in members):
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return pick(dict(arrays))
        except (ValueError, zipfile.BadZipFile, EOFError) as error:
            raise UserError(f"{path}: {first_line(error)}") from error
    raise UserError(f"{path}: an archive without weights; read are {KINDS}")


def _hdf5(path: Path, inside: str = "") -> dict[str, np.ndarray]:
    """All arrays of an HDF5 file by their paths, ``inside`` an archive or alone."""
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(f"{path}: HDF5 needs h5py: pip install 'jaxseg[keras]'") from error
    import io

    source = io.BytesIO(zipfile.ZipFile(path).read(inside)) if inside else path
    found: dict[str, np.ndarray] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "fiub":
            if node.external or node.is_virtual:
                raise UserError(f"{path}: {name} lies in another file, which is not opened")
            found[name] = np.asarray(node)

    try:
        with h5py.File(source) as file:
            file.visititems(visit)
    except OSError as error:
        raise UserError(f"{path}: damaged HDF5 ({first_line(error)})") from error
    return found


def _picked(content: Any, *, key: str, path: Path) -> Mapping[str, Any]:
    """The dictionary of arrays, at ``key`` or the only one."""
    candidates = dict(_candidates(content, beside=() if key else BESIDE))
    if key:
        if key not in candidates:
            raise unknown(f"{path}: no weights lie at", key, filter(None, candidates))
        return candidates[key]
    if not candidates:
        raise UserError(f"{path}: holds no arrays by name; save a state_dict")
    while True:
        outer = [at for at in candidates if not any(_within(at, other) for other in candidates)]
        if len(outer) > 1:
            names, one = ", ".join(map(repr, outer)), outer[0]
            raise UserError(
                f'{path}: holds weights at {names}; say which: --key {one} (key="{one}" of '
                f'jaxseg.convert.read, take="{one}" of InitFrom)'
            )
        found = candidates.pop(outer[0])
        # stray tensors beside a state_dict, such as a generator's state, do not hide it
        if not any(_count(one) >= _count(found) for one in candidates.values()):
            return found


def _within(at: str, other: str) -> bool:
    """Whether a dictionary lies in another one."""
    return at != other and (not other or at.startswith(f"{other}."))


def _count(content: Mapping[str, Any]) -> int:
    return sum(isinstance(value, np.ndarray | Tensor) for value in content.values())


def _candidates(
    content: Any, at: str = "", depth: int = 2, beside: tuple[str, ...] = BESIDE
) -> list[tuple[str, Mapping[str, Any]]]:
    """Dictionaries of arrays by name, and the names that lead to them."""
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return []
    found = [(at, content)] if _count(content) else []
    if not depth:
        return found
    for name, value in content.items():
        if not name.lower().startswith(beside):
            found += _candidates(value, f"{at}.{name}" if at else name, depth - 1, beside)
    return found


def _wrapper(arrays: Mapping[str, Any]) -> str:
    """What stands before all keys because of how the network was run."""
    return next((w for w in WRAPPERS if all(name.startswith(w) for name in arrays)), "")


def _plain(value: np.ndarray) -> np.ndarray:
    """The array with memory of its own; half precision as float32.

    Float8 stays what it is: without its scale it is no weight (`weights.FLOATS`).
    """
    narrow = value.dtype.name in ("float16", "bfloat16")
    return np.require(value, np.float32 if narrow else value.dtype, ["C", "W"])


# --- the Hugging Face hub -------------------------------------------------------------------------


def downloaded(name: str) -> Path:
    """The local copy of a file of the hub. UserError where it, or the library, cannot be had."""
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(f"{name}: needs huggingface_hub: pip install 'jaxseg[hub]'") from error
    repository, _, rest = name.removeprefix(HUB).partition("/")
    short, _, file = rest.partition("/")
    short, _, revision = short.partition("@")
    if not repository or not short:
        raise UserError(f"{name}: must be hf://owner/name, or hf://owner/name/file")
    repository = f"{repository}/{short}"
    try:
        if not file:
            files = huggingface_hub.list_repo_files(repository, revision=revision or None)
            file = _weights_among(files, name)
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision or None))
    except UserError:
        raise
    except Exception as error:  # of requests, of the hub, of no network: each has its own
        raise UserError(f"{name}: {first_line(error)}") from error


def _weights_among(files: list[str], name: str) -> str:
    """The one file of weights of a repository, safetensors before pickles."""
    for endings in ((".safetensors",), (".bin", ".pth", ".pt"), (".h5", ".keras")):
        fitting = [file for file in files if file.endswith(endings)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UserError(f"{name}: has {', '.join(fitting)}; name one: {name}/{fitting[0]}")
    raise UserError(f"{name}: has no file of weights among {', '.join(files)}")
