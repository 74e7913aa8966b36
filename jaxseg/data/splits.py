"""Which cases train, validate and test, where their names are all that tells them apart."""

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from jaxseg.data.checks import few
from jaxseg.data.twins import refuse_twins
from jaxseg.errors import UserError, first_line, require

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}
"""What folders, files and columns may call each split."""


@dataclass(frozen=True)
class Shares:
    """``validation`` and ``test`` of the cases, or one of ``folds`` parts that share no case.

    The order is a hash of ``seed`` and name, so that the same cases are drawn on every machine,
    however its files are listed. With a ``fold``, from 0, the part of that number validates: each
    case does so in just one fold, and ``validation`` means nothing; cases of ``test`` are in none.
    ``group``: a regular expression that matches the beginning of each name; what it matches (its
    first group, where it has one) are cases that stay together, as the slices of a patient.
    """

    validation: float = 0.2
    test: float = 0.0
    seed: int = 0
    fold: int | None = None
    folds: int = 5
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        held = f"data.dataset.validation={self.validation}, test={self.test}"
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise UserError(f"{held}: shares of the files, which leave some to train on")
        require(self.folds >= 2, "data.dataset.folds", self.folds, "at least 2")
        if self.fold is not None:
            what = f"from 0 to {self.folds - 1}, one of folds={self.folds}"
            require(0 <= self.fold < self.folds, "data.dataset.fold", self.fold, what)
            if not self.validation:
                raise UserError(f"{held}: a fold validates; leave out fold or validation=0.0")
        try:
            re.compile(self.group)
        except re.error as error:
            raise UserError(
                f"data.dataset.group={self.group!r}: no regular expression ({first_line(error)})"
            ) from error

    @property
    def without_validation(self) -> bool:
        """Whether nothing is to validate."""
        return self.fold is None and not self.validation

    def chosen(
        self, names: Sequence[str], split: str, where: str, *, ordered: bool = False
    ) -> set[str]:
        """The names of a split; ``where`` begins errors.

        ``ordered``: neighbours are alike, as the slices of a stack, so that each split is a run of
        them, the last part validation.
        """
        units = [[name] for name in reversed(names)] if ordered else self._units(names, where)
        parts = self._in_fractions(units) if self.fold is None else self._in_folds(units, where)
        found = {name for unit in parts[split] for name in unit}
        if not found and not (split == "validation" and self.without_validation):
            share = f"{split}={getattr(self, split)}" if split != "train" else "the fractions"
            more = "; Region splits one case" if len(units) == 1 else ""
            raise UserError(f"{where}: {share} leaves no {split} case of {len(units)}{more}")
        return found

    def _units(self, names: Sequence[str], where: str) -> list[list[str]]:
        """The groups of names, by the hash of what they share."""
        groups: dict[str, list[str]] = {}
        for name in names:
            match = re.match(self.group, name)
            if self.group and match is None:
                raise UserError(f"{where}: {name} is not matched by group={self.group!r}")
            group = match.group(1 if match.re.groups else 0) if self.group and match else name
            groups.setdefault(group, []).append(name)
        hashed = {g: hashlib.sha256(f"{self.seed}/{g}".encode()).digest() for g in groups}
        return [groups[g] for g in sorted(groups, key=hashed.__getitem__)]

    def _in_fractions(self, units: list[list[str]]) -> dict[str, list[list[str]]]:
        validation, test = (_count(x, len(units)) for x in (self.validation, self.test))
        held = validation + test
        return {
            "validation": units[:validation],
            "test": units[validation:held],
            "train": units[held:],
        }

    def _in_folds(self, units: list[list[str]], where: str) -> dict[str, list[list[str]]]:
        test = _count(self.test, len(units))
        rest = units[test:]
        if len(rest) < self.folds:
            raise UserError(
                f"{where}: folds={self.folds} need as many cases; there are {len(rest)}"
            )
        fold = [number * self.folds // len(rest) for number in range(len(rest))]
        return {
            "validation": [unit for unit, of in zip(rest, fold, strict=True) if of == self.fold],
            "test": units[:test],
            "train": [unit for unit, of in zip(rest, fold, strict=True) if of != self.fold],
        }


def _count(fraction: float, total: int) -> int:
    """The number that a fraction takes: at least one where it is asked for, and never all."""
    return min(max(round(fraction * total), 1), total - 1) if fraction > 0 else 0


def split_of(word: str) -> str | None:
    """The split that a word stands for; None where it is none."""
    return next((split for split, words in SPLITS.items() if word.lower() in words), None)


def refuse_shared(where: str, split: str, files_of: Callable[[str], Collection[str]]) -> None:
    """Refuse an image of ``split`` that is one of another split, by its path or by its bytes.

    ``files_of`` gives the image files of a split, and none of one that is not there.
    """
    files = set(files_of(split))
    for other in SPLITS:
        if other == split:
            continue
        beside = set(files_of(other))
        both = sorted(files & beside)
        if both:
            raise UserError(
                f"{where}: {split} and {other} both name {few(both, 3)}; a case is to be in one "
                "of them"
            )
        refuse_twins(files, split, beside, other)
