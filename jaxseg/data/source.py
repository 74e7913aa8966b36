"""Random access to the cases of a split whose images and masks are files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped

from jaxseg.data.checks import check_labels, few, integral
from jaxseg.data.images import read_image, read_mask
from jaxseg.errors import UserError
from jaxseg.types import IGNORE


@dataclass(frozen=True)
class Masks:
    """How the numbers or colours of a mask file become classes.

    ``values[k]`` (or ``colors[k]``) is what a file holds for class k; entries from ``num_classes``
    on are read as IGNORE, and whatever is not listed is refused. Without them a file holds the
    classes themselves. ``ignore``: file values that become IGNORE.
    ``instances``: the file numbers objects from 1; they are all class 1, and kept as ``instance``.
    ``boundary``: in such files, the rim of each object is class 2.
    """

    num_classes: int
    values: tuple[int, ...] | None = None
    colors: tuple[tuple[int, int, int], ...] | None = None
    ignore: tuple[int, ...] = ()
    instances: bool = False
    boundary: bool = False

    def read(self, path: str, *, rank: int, page: int | None) -> dict[str, np.ndarray]:
        """``label`` int32, and ``instance`` int32 where the file numbers objects."""
        raw = read_mask(path, rank=rank, page=page)
        if raw.ndim > rank:
            raw = self._grey_or_code(raw, path)
        elif self.colors is not None:
            raise UserError(f"{path}: a mask without colours; leave out `colors`")
        raw = integral(raw, path)
        if self.instances:
            if raw.min(initial=0) < 0:
                raise UserError(f"{path}: negative instance numbers")
            instance = np.asarray(raw, np.int32)
            label = semantic(instance, boundary=self.boundary)
            return {"label": label, "instance": instance}
        return {"label": self._classes(raw, path)}

    def _grey_or_code(self, rgb: Shaped[np.ndarray, "*spatial 3"], path: str) -> np.ndarray:
        if self.colors is not None:
            return _code(rgb)
        if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2]):
            return rgb[..., 0]
        raise UserError(f"{path}: a mask of colours; give the data set `colors`, one per class")

    def _classes(self, raw: np.ndarray, path: str) -> np.ndarray:
        if self.colors is not None:
            return self._listed(raw, [int(c) for c in _code(np.array(self.colors))], path)
        if self.values is not None:
            return self._listed(raw, list(self.values), path)
        if isinstance(raw, np.memmap) and np.issubdtype(raw.dtype, np.signedinteger):
            return raw  # already classes and IGNORE: stays on disk, its patches are checked
        ignored = np.isin(raw, self.ignore) if self.ignore else None
        if ignored is not None and ignored.any():
            check_labels(raw[~ignored], self.num_classes, path)
            return np.where(ignored, np.int32(IGNORE), raw.astype(np.int32))
        check_labels(raw, self.num_classes, path)
        return raw.astype(np.int32)

    def _listed(self, raw: np.ndarray, known: list[int], path: str) -> np.ndarray:
        unseen = np.int32(IGNORE - 1)
        label = np.full(raw.shape, unseen)
        for k, value in enumerate(known):
            label[raw == value] = k if k < self.num_classes else IGNORE
        label[np.isin(raw, self.ignore)] = IGNORE
        bad = np.unique(raw[label == unseen])
        if not bad.size:
            return label
        if self.colors is None:
            raise UserError(f"{path}: values {few(bad)} are not in `values` {tuple(known)}")
        named = [(int(v) >> 32, int(v) >> 16 & 0xFFFF, int(v) & 0xFFFF) for v in bad]
        raise UserError(f"{path}: colours {few(named, 3)} are not in `colors`")


def _code(rgb: np.ndarray) -> np.ndarray:
    """One number a colour, so that it compares like an index."""
    red, green, blue = (rgb[..., i].astype(np.int64) for i in range(3))
    return (red << 32) | (green << 16) | blue


def semantic(
    instance: Int[np.ndarray, "*spatial"], *, boundary: bool = False
) -> Int[np.ndarray, "*spatial"]:
    """Object numbers -> classes: 0 background, 1 object, and 2 its rim if ``boundary``."""
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


@dataclass(frozen=True)
class Pair:
    """Where one case lies. ``page``: the slice, of image and mask, in a multi-page TIFF."""

    name: str
    image: str
    mask: str | None = None
    page: int | None = None


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
        image = read_image(pair.image, rank=self.rank, channels=self.channels, page=pair.page)
        case = {"name": pair.name, "image": image}
        if pair.mask is not None:
            case |= self.masks.read(pair.mask, rank=self.rank, page=pair.page)
            if not self.instances:
                case.pop("instance", None)
        return case

    def files(self, index: int) -> tuple[str, ...]:
        """Image, then mask."""
        pair = self.pairs[index]
        return (pair.image,) if pair.mask is None else (pair.image, pair.mask)

    def key(self, index: int) -> str:
        """Paths, sizes and times of change of the files, and how they are read."""
        stats = [(str(Path(f).resolve()), Path(f).stat()) for f in self.files(index)]
        seen = [(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats]
        how = (self.masks, self.channels, self.rank, self.instances, self.pairs[index].page)
        return repr((seen, how))


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
