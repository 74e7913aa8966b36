"""Pairs of files that a CSV lists: for images and masks that no rule of names brings together."""

import csv
from dataclasses import dataclass
from pathlib import Path

from jaxseg.data.images import SUFFIXES, stem, suffix
from jaxseg.data.source import Masks, Pairs, existing, slices, unknown_split
from jaxseg.data.splits import SPLITS, Shares, refuse_shared, split_of
from jaxseg.errors import UserError, require, unknown


@dataclass(frozen=True)
class Table:
    """The rows of ``root/file``: columns ``image``, ``mask`` and, as one likes, ``split``.

    Paths are relative to the CSV, or absolute. A row whose mask is empty is a case without label,
    which ``Data(labels="optional")`` trains on. The column ``split`` says train, validation (or
    val) or test; without it the cases are split by `jaxseg.data.splits.Shares`, whose names are the
    images as the table has them. Columns of other names are passed over. ``values``, ``colors``,
    ``ignore``, ``instances``: see `jaxseg.data.source.Masks`.
    """

    num_classes: int
    channels: int = 3
    rank: int = 2
    class_names: tuple[str, ...] = ()
    file: str = "pairs.csv"
    values: tuple[int, ...] | None = None
    colors: tuple[tuple[int, int, int], ...] | None = None
    ignore: tuple[int, ...] | None = None
    instances: bool = False
    validation: float = 0.2
    test: float = 0.0
    seed: int = 0
    fold: int | None = None
    folds: int = 5
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name in ("num_classes", "channels"):
            require(
                getattr(self, name) >= 1, f"data.dataset.{name}", getattr(self, name), "at least 1"
            )
        require(self.rank in (2, 3), "data.dataset.rank", self.rank, "2 (images) or 3 (volumes)")
        self._shares()
        self._reading()

    def open(self, root: str, split: str) -> Pairs:
        """Reads the table; every file that a row names must be there."""
        path = existing(root, "images, masks and their table") / self.file
        if split not in SPLITS:
            raise unknown_split(split, tuple(SPLITS), str(path))
        rows = _rows(path)
        refuse_shared(str(path), split, lambda s: {r.image for r in self._of(rows, s, path)})
        pairs = [
            pair
            for row in self._of(rows, split, path)
            for pair in slices(Path(row.image), row.mask, self.rank, row.name)
        ]
        if not pairs and not (split == "validation" and self._shares().without_validation):
            raise UserError(f"{path}: no row of the split {split!r}")
        return Pairs(tuple(pairs), self._reading(), self.channels, self.rank, self.instances)

    def _of(self, rows: list["Row"], split: str, path: Path) -> list["Row"]:
        """The rows of a split."""
        if rows[0].split is not None:
            if self.fold is not None or self.group:
                raise UserError(
                    f"{path}: its column split fixes the splits; leave out data.dataset.fold and "
                    "data.dataset.group"
                )
            return [row for row in rows if row.split == split]
        if split == "test" and not self.test:
            return []
        chosen = self._shares().chosen([row.name for row in rows], split, str(path))
        return [row for row in rows if row.name in chosen]

    def _shares(self) -> Shares:
        return Shares(self.validation, self.test, self.seed, self.fold, self.folds, self.group)

    def _reading(self) -> Masks:
        return Masks(
            self.num_classes,
            values=self.values,
            colors=self.colors,
            ignore=self.ignore,
            instances=self.instances,
        )


@dataclass(frozen=True)
class Row:
    """One line: the image, its mask, the name (its path as listed, without suffix), the split."""

    name: str
    image: str
    mask: Path | None
    split: str | None


def _rows(path: Path) -> list[Row]:
    """The lines of the table; UserError names the one that cannot be used."""
    if not path.is_file():
        there = [p.name for p in path.parent.glob("*.csv")] if path.parent.is_dir() else []
        if there:
            raise unknown(f"{path.parent}: no table", path.name, there)
        raise UserError(f"{path}: no such file; data.dataset.file is the CSV's name in data.root")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = list(reader.fieldnames or ())
            lines = [(reader.line_num, line) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: no CSV in UTF-8 ({error})") from error
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        raise UserError(f"{path}: its first line is {columns[0]!r}; separate columns with commas")
    for wanted in ("image", "mask"):
        if wanted not in columns:
            raise unknown(f"{path}: its first line has no column", wanted, columns)
    if not lines:
        raise UserError(f"{path}: holds no row below its first line")
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for number, line in lines:
        row = _row(path, number, line, "split" in columns)
        if row.image in seen:
            raise UserError(f"{path}: line {number}: {row.image} stands in line {seen[row.image]}")
        seen[row.image] = number
        rows.append(row)
    return rows


def _row(path: Path, number: int, line: dict, named: bool) -> Row:
    here = f"{path}: line {number}"
    if None in line or None in line.values():
        raise UserError(f"{here}: has not as many cells as the first line has columns")
    cells = {name: line[name].strip() for name in ("image", "mask")}
    if not cells["image"]:
        raise UserError(f"{here}: names no image")
    files = {name: path.parent / cell for name, cell in cells.items() if cell}
    for name, file in files.items():
        if not file.is_file():
            raise UserError(f"{here}: {name} {file}: no such file")
        if suffix(file) not in SUFFIXES:
            raise UserError(f"{here}: {name} {file}: no image ({' '.join(SUFFIXES)})")
    split = split_of(line["split"].strip()) if named else None
    if named and split is None:
        raise UserError(f"{here}: split {line['split'].strip()!r}; there are {', '.join(SPLITS)}")
    listed = Path(cells["image"])
    name = (listed.parent / stem(listed)).as_posix()
    return Row(name, str(files["image"]), files.get("mask"), split)
