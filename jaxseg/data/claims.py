"""What a file's header claims, held against the file's size and the machine's memory."""

import os
from pathlib import Path

from jaxseg.errors import UserError

DEFLATE = 1100
"""Bytes that one byte of zlib or gzip may become: 1032, and some for headers."""

_CGROUP = Path("/sys/fs/cgroup/memory.max")


def memory() -> int:
    """Bytes of memory of this machine, or of the container where that has less."""
    total = _physical()
    try:
        return min(total, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return total


def _physical() -> int:
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import ctypes  # Windows

    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong) for name in ("total", *"abcdef")
        ]

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # pyright: ignore
    return int(status.total)


def refuse_claim(path: Path, *, claimed: int, stored: int, ratio: int | None) -> None:
    """Refuse bytes that ``stored`` bytes of the file cannot become, at ``ratio`` at most.

    ``ratio`` None: a compression that knows no bound.
    """
    if ratio is not None and claimed > stored * ratio:
        raise UserError(
            f"{path}: truncated, or its header is damaged: it claims {_bytes(claimed)} of pixels "
            f"and the file holds {_bytes(stored)}"
        )


def refuse_large(path: Path, size: int) -> None:
    """Refuse to decode ``size`` bytes where they are more than half of the memory."""
    if size > memory() // 2:
        raise UserError(
            f"{path}: its header claims {_bytes(size)} of pixels, more than half of this "
            f"machine's memory ({_bytes(memory())}); an .npy file is read in parts"
        )


def _bytes(count: int) -> str:
    for unit, of in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= of:
            return f"{count / of:.1f} {unit}"
    return f"{count:.0f} bytes"
