"""Files that hold the same bytes: one picture under two names, in two splits."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from jaxseg.errors import UserError


def refuse_twins(files: Collection[str], split: str, others: Collection[str], other: str) -> None:
    """Refuse a file whose bytes are those of a file of another split."""
    same = twin(sorted(files), sorted(set(others) - set(files)))
    if same is not None:
        raise UserError(
            f"{same[0]} ({split}) and {same[1]} ({other}) hold the same bytes; take one away, "
            "or put both into one split"
        )


def twin(files: Sequence[str], others: Sequence[str]) -> tuple[str, str] | None:
    """A file of each that hold the same bytes; None where no two do.

    Only what is of one length and has equal ends is read whole.
    """
    for key in (_length, _ends, _digest):
        known = {file: key(file) for file in {*files, *others}}
        common = {known[file] for file in files} & {known[file] for file in others}
        files = [file for file in files if known[file] in common]
        others = [file for file in others if known[file] in common]
    if not files:
        return None
    return files[0], next(file for file in others if known[file] == known[files[0]])


def _length(file: str) -> int:
    return Path(file).stat().st_size


def _ends(file: str) -> tuple[bytes, bytes]:
    with open(file, "rb") as opened:
        first = opened.read(ENDS)
        opened.seek(max(_length(file) - ENDS, 0))
        return first, opened.read(ENDS)


def _digest(file: str) -> bytes:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


ENDS = 1 << 12
"""Bytes at either end that tell most files apart."""
