"""Random access to the cases of a split whose images and masks are files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Integer, Shaped

from jaxseg.data.checks import check_labels, few, integral, size
from jaxseg.data.images import pages, read_image, read_mask, read_turn, refuse_apart, stem
from jaxseg.errors import UserError, require
from jaxseg.types import IGNORE

IGNORED = 255
"""The number that masks hold where nobody knows: not counted unless it is listed as a class."""

FEW = 4
"""Classes up to which a mask of 0 and 255 alone is asked about: it may be one of two classes."""


@dataclass(frozen=True)
class Masks:
    """How the numbers or colours of a mask file become classes.

    ``values[k]`` (or ``colors[k]``) is what a file holds for class k; entries from ``num_classes``
    on are read as IGNORE, and whatever is not listed is refused. Without them a file holds the
    classes themselves. ``ignore``: numbers that become IGNORE; None is 255 where neither
    ``values`` nor ``colors`` nor ``num_classes`` make it a class. Colours are never ignored by
    number.
    ``instances``: the file numbers objects from 1; they are all class 1, and kept as ``instance``.
    ``boundary``: in such files, the rim of each object is class 2.
    """

    num_classes: int
    values: tuple[int, ...] | None = None
    colors: tuple[tuple[int, int, int], ...] | None = None
    ignore: tuple[int, ...] | None = None
    instances: bool = False
    boundary: bool = False

    def __post_init__(self) -> None:
        """Refuse fields that contradict each other."""
        if self.values is not None and self.colors is not None:
            raise UserError("data.dataset.colors: masks hold `values` or `colors`, not both")
        for name in ("values", "colors"):
            listed = getattr(self, name)
            if listed is not None:
                fine = len(listed) >= self.num_classes and len(set(listed)) == len(listed)
                what = f"one for each of num_classes={self.num_classes}, none twice"
                require(fine, f"data.dataset.{name}", listed, what)
        if self.instances:
            for name in ("values", "colors", "ignore"):
                if getattr(self, name):
                    raise UserError(
                        f"data.dataset.{name}={getattr(self, name)}: means nothing with "
                        "instances=True, where a mask numbers objects"
                    )
        if self.ignore and self.colors is not None:
            raise UserError(
                f"data.dataset.ignore={self.ignore}: numbers, where the masks hold colours; list "
                "the colours to ignore at the end of `colors`, after those of the classes"
            )
        for k, value in enumerate((self.values or ())[: self.num_classes]):
            if value in (self.ignore or ()):
                raise UserError(
                    f"data.dataset.ignore={self.ignore}: {value} is class {k} in "
                    f"values={self.values}; leave it out of one of the two"
                )

    @property
    def ignored(self) -> tuple[int, ...]:
        """The numbers that become IGNORE."""
        if self.ignore is not None:
            return self.ignore
        if self.colors is not None or self.instances or self.num_classes > IGNORED:
            return ()
        return () if IGNORED in (self.values or ()) else (IGNORED,)

    def read(self, path: str, *, rank: int, page: int | None) -> dict[str, np.ndarray]:
        """``label`` int32, and ``instance`` int32 where the file numbers objects."""
        raw = read_mask(path, rank=rank, page=page)
        if raw.ndim > rank:
            if self.colors is not None:
                return {"label": self._colored(integral(raw, path), path)}
            raw = _grey(raw, path)
        elif self.colors is not None:
            raise UserError(f"{path}: a mask without colours; leave out `colors`")
        raw = integral(raw, path)
        if self.instances:
            if raw.min(initial=0) < 0 or raw.max(initial=0) > np.iinfo(np.int32).max:
                raise UserError(f"{path}: instance numbers below 0 or above 2^31 - 1")
            instance = np.asarray(raw, np.int32)
            label = semantic(instance, boundary=self.boundary)
            return {"label": label, "instance": instance}
        return {"label": self.classes(raw, path)}

    def classes(
        self, raw: Integer[np.ndarray, "*spatial"], name: str
    ) -> Integer[np.ndarray, "*spatial"]:
        """The classes of numbers ``raw``; ``name`` is for errors."""
        if self.values is not None:
            return self._valued(raw, self.values, name)
        stored = isinstance(raw, np.memmap) and np.issubdtype(raw.dtype, np.signedinteger)
        if stored and not self.ignore:
            return raw  # already classes and IGNORE: stays on disk, its patches are checked
        self._refuse_two_values(raw, name)
        ignored = np.isin(raw, self.ignored)
        check_labels(raw[~ignored] if ignored.any() else raw, self.num_classes, name)
        return np.where(ignored, np.int32(IGNORE), raw.astype(np.int32))

    def _refuse_two_values(self, raw: np.ndarray, name: str) -> None:
        """Refuse 0 and 255 alone: most often the two classes of a drawing program."""
        if self.ignore is not None or IGNORED not in self.ignored or self.num_classes > FEW:
            return
        if raw.max(initial=0) == IGNORED and np.isin(raw, (0, IGNORED)).all():
            fewer = "" if self.num_classes == 2 else "num_classes=2, "
            raise UserError(
                f"{name}: holds no number but 0 and 255, and 255 would be ignored; write "
                f"{fewer}values=(0, 255) where 255 is a class (of evaluate: --values 0,255), "
                "ignore=(255,) where it is none"
            )

    def _valued(self, raw: np.ndarray, values: tuple[int, ...], name: str) -> np.ndarray:
        label = self._matched([raw == value for value in values])
        label[np.isin(raw, self.ignored)] = IGNORE
        bad = np.unique(raw[label == UNSEEN])
        if bad.size:
            raise UserError(f"{name}: values {few(bad)} are not in `values` {values}")
        return label

    def _colored(self, rgb: Integer[np.ndarray, "*spatial 3"], name: str) -> np.ndarray:
        code = _code(rgb)
        label = self._matched([code == one for one in _code(np.array(self.colors))])
        bad = np.unique(code[label == UNSEEN])
        if bad.size:
            named = [(int(v) >> 32, int(v) >> 16 & 0xFFFF, int(v) & 0xFFFF) for v in bad]
            raise UserError(f"{name}: colours {few(named, 3)} are not in `colors`")
        return label

    def _matched(self, there: list[np.ndarray]) -> np.ndarray:
        """Class k where ``there[k]``, IGNORE from ``num_classes`` on, else UNSEEN."""
        label = np.full(there[0].shape, UNSEEN)
        for k, pixels in enumerate(there):
            label[pixels] = k if k < self.num_classes else IGNORE
        return label


UNSEEN = np.int32(IGNORE - 1)
"""What stands for a number or colour that is not listed, until it is refused."""


def _grey(rgb: Shaped[np.ndarray, "*spatial 3"], path: str) -> np.ndarray:
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2]):
        return rgb[..., 0]
    raise UserError(f"{path}: a mask of colours; give the data set `colors`, one per class")


def _code(rgb: np.ndarray) -> np.ndarray:
    """One number a colour, so that it compares like an index."""
    red, green, blue = (rgb[..., i].astype(np.int64) for i in range(3))
    return (red << 32) | (green << 16) | blue


def semantic(
    instance: Int[np.ndarray, "*spatial"], *, boundary: bool = False
) -> Int[np.ndarray, "*spatial"]:
    """Classes of object numbers: 0 background, 1 object, and 2 its rim if ``boundary``."""
    label = (instance > 0).astype(np.int32)
    if boundary:
        label[rim(instance)] = 2
    return label


def rim(instance: Int[np.ndarray, "*spatial"]) -> Bool[np.ndarray, "*spatial"]:
    """Pixels of an object that have a neighbour (along an axis) of another number."""
    edge = np.zeros(instance.shape, bool)
    for axis in range(instance.ndim):
        step = np.diff(instance, axis=axis) != 0
        before = [slice(None)] * instance.ndim
        after = list(before)
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        edge[tuple(before)] |= step
        edge[tuple(after)] |= step
    return edge & (instance > 0)


READING = 2
"""Raised whenever files are read in another way, so that no cached case is of the old one."""


@dataclass(frozen=True)
class Pair:
    """Where one case lies. ``page``: the slice, of image and mask, in a multi-page TIFF.

    ``more``: files of further channels, on the grid of ``image``.
    """

    name: str
    image: str
    mask: str | None = None
    page: int | None = None
    more: tuple[str, ...] = ()


def slices(image: Path, mask: Path | None, rank: int, name: str = "") -> list[Pair]:
    """The cases of a file: one, or at ``rank`` 2 as many as it has pages; named by its stem."""
    count, name = pages(image, rank=rank), name or stem(image)
    target = None if mask is None else str(mask)
    if count is None:
        return [Pair(name, str(image), target)]
    if mask is not None and pages(mask, rank=rank) != count:
        raise UserError(f"{mask}: {pages(mask, rank=rank)} slices, its image {image} has {count}")
    return [Pair(f"{name}_{i:04d}", str(image), target, i) for i in range(count)]


@dataclass(frozen=True)
class Pairs:
    """A source of image and mask files; reading is what costs, opening is not."""

    pairs: tuple[Pair, ...]
    masks: Masks
    channels: int
    rank: int = 2
    instances: bool = False

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        pair = self.pairs[index]
        case = {"name": pair.name, "image": self._image(pair)}
        if pair.mask is not None:
            refuse_apart(pair.image, pair.mask)
            case |= self.masks.read(pair.mask, rank=self.rank, page=pair.page)
            _refuse_turned(case, pair.image, pair.mask)
            if not self.instances:
                case.pop("instance", None)
        return case

    def _image(self, pair: Pair) -> np.ndarray:
        if not pair.more:
            return read_image(pair.image, rank=self.rank, channels=self.channels, page=pair.page)
        parts = {
            file: read_image(file, rank=self.rank, page=pair.page)
            for file in (pair.image, *pair.more)
        }
        first = parts[pair.image]
        for file, part in parts.items():
            _refuse_unlike(pair.image, first, file, part)
        return np.concatenate(list(parts.values()), -1)

    def files(self, index: int) -> tuple[str, ...]:
        """Image, files of further channels, then mask."""
        pair = self.pairs[index]
        return (pair.image, *pair.more, *(() if pair.mask is None else (pair.mask,)))

    def key(self, index: int) -> str:
        """Paths, sizes and times of change of the files, and how they are read."""
        stats = [(str(Path(f).resolve()), Path(f).stat()) for f in self.files(index)]
        seen = [(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats]
        how = (self.masks, self.channels, self.rank, self.instances, self.pairs[index].page)
        return repr((READING, seen, how))


SCALED = (np.bool_, np.uint8, np.uint16)
"""Types whose full scale says what 1 is (`jaxseg.data.normalize.Unit`)."""


def _refuse_unlike(image: str, first: np.ndarray, file: str, part: np.ndarray) -> None:
    """Refuse channels of one case on another grid than the first, or on another scale."""
    if part.shape[:-1] != first.shape[:-1]:
        raise UserError(
            f"{file}: {size(part.shape[:-1])}, and {image}, a channel of the same case, is "
            f"{size(first.shape[:-1])}; resample one onto the grid of the other"
        )
    refuse_apart(image, file)
    kinds = {part.dtype, first.dtype}
    if len(kinds) > 1 and any(kind == scaled for kind in kinds for scaled in SCALED):
        raise UserError(
            f"{file}: {part.dtype}, and {image}, a channel of the same case, is {first.dtype}; "
            "store them in one type, as 1 is something else in each"
        )


def _refuse_turned(case: dict, image: str, mask: str) -> None:
    """Refuse sizes that differ because the file of one alone is to be turned when it is read."""
    if case["label"].shape == case["image"].shape[:-1]:
        return
    turns = read_turn(image), read_turn(mask)
    if turns[0] != turns[1]:
        raise UserError(
            f"{mask}: {size(case['label'].shape)}, and its image {image} is "
            f"{size(case['image'].shape[:-1])} after its EXIF orientation {turns[0]} is applied "
            f"(the mask's is {turns[1]}); store both upright, without the tag"
        )


def existing(root: str, dataset: str) -> Path:
    """The data set's folder, or the error that says what to set."""
    if not root:
        raise UserError(f"data.root is not set: give the folder of {dataset}")
    if not Path(root).is_dir():
        raise UserError(f"data.root={root}: no such folder")
    return Path(root)


def unknown_split(split: str, known: tuple[str, ...], where: str) -> UserError:
    """The error for a split that does not exist."""
    return UserError(f"{where}: no split {split!r}; there are {', '.join(known)}")
