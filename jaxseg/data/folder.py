"""A folder of images and a folder of masks, paired by name: how one brings one's own data."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from jaxseg.data.checks import few
from jaxseg.data.images import list_images, pages, stem
from jaxseg.data.source import Masks, Pair, Pairs, existing, twin, unknown_split
from jaxseg.errors import UserError

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}


@dataclass(frozen=True)
class Folder:
    """Images in ``root/images``, masks of the same names (any suffix) in ``root/masks``.

    Which case belongs to which split is found, first that exists, in

    1. sub-folders: ``root/train/images`` and ``root/train/masks``, or ``root/images/train`` and
       ``root/masks/train``; ``val`` and ``valid`` are ``validation``;
    2. split files: ``root/train.txt``, ``root/validation.txt`` (or ``val.txt``), ``root/test.txt``,
       one file name or stem a line;
    3. fractions: ``validation`` and ``test`` of the files, by a hash of ``seed`` and stem, so that
       the same files are drawn on every machine. The slices of one single stack are split along
       the stack instead (last part validation), since neighbouring slices are alike.

    A case that two split files name, and a file whose bytes are those of one in another split, is
    refused. In sub-folders one name may occur in two splits: there it means two cases.

    A multi-page TIFF is a volume at ``rank=3`` and a sequence of slices at ``rank=2``. Grey images
    are repeated to ``channels``, colours become luma at ``channels=1``. ``values``, ``colors`` and
    ``ignore`` (255 unless it is a class): see `jaxseg.data.source.Masks`. A split ``test`` may have
    no masks. ``.npy`` masks of signed integers are taken as classes and -1, and stay on disk.
    Distances between surfaces are in mm where the images are NIfTI, whose headers say how large a
    voxel is, else in pixels.
    """

    num_classes: int
    channels: int = 3
    rank: int = 2
    class_names: tuple[str, ...] = ()
    images: str = "images"
    masks: str = "masks"
    mask_suffix: str = ""
    values: tuple[int, ...] | None = None
    colors: tuple[tuple[int, int, int], ...] | None = None
    ignore: tuple[int, ...] | None = None
    instances: bool = False
    validation: float = 0.2
    test: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        for name in ("num_classes", "channels"):
            if getattr(self, name) < 1:
                raise UserError(f"data.dataset.{name}={getattr(self, name)}: must be at least 1")
        if self.rank not in (2, 3):
            raise UserError(f"data.dataset.rank={self.rank}: 2 for images, 3 for volumes")
        held = f"data.dataset.validation={self.validation}, test={self.test}"
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise UserError(f"{held}: shares of the files, which leave some to train on")
        self._reading()  # refuses masks that contradict themselves

    def open(self, root: str, split: str) -> Pairs:
        """Pairs files; an image without mask, an empty folder and an unknown split end here."""
        folder = existing(root, "images and masks")
        if split not in SPLITS:
            raise unknown_split(split, tuple(SPLITS), str(folder))
        everything = None
        if not self._nested(folder):
            everything = self._pair(folder / self.images, folder / self.masks, unlabeled=False)
        pairs = self._chosen(folder, split, everything)
        for other in SPLITS:
            if other != split:
                self._refuse_shared(folder, split, pairs, other, everything)
        return Pairs(tuple(pairs), self._reading(), self.channels, self.rank, self.instances)

    def pairs(self, images: Path, masks: Path) -> Pairs:
        """All images of a folder with the masks of another, whatever the splits."""
        found = self._pair(images, masks, unlabeled=False)
        return Pairs(tuple(found), self._reading(), self.channels, self.rank, self.instances)

    def _reading(self) -> Masks:
        return Masks(
            self.num_classes,
            values=self.values,
            colors=self.colors,
            ignore=self.ignore,
            instances=self.instances,
        )

    def _nested(self, root: Path) -> bool:
        """Whether sub-folders tell the splits apart."""
        return any(images.is_dir() for split in SPLITS for images, _ in self._folders(root, split))

    def _folders(self, root: Path, split: str) -> list[tuple[Path, Path]]:
        return [
            (root / alias / self.images, root / alias / self.masks) for alias in SPLITS[split]
        ] + [(root / self.images / alias, root / self.masks / alias) for alias in SPLITS[split]]

    def _chosen(self, root: Path, split: str, everything: list[Pair] | None) -> list[Pair]:
        """The cases of a split; ``everything``: of all splits, unless sub-folders decide."""
        if everything is None:
            images, masks = self._from_folders(root, split)
            return self._pair(images, masks, unlabeled=split == "test")
        named = self._from_file(root, split, everything)
        return self._from_fractions(root, split, everything) if named is None else named

    def _refuse_shared(
        self, root: Path, split: str, pairs: list[Pair], other: str, everything: list[Pair] | None
    ) -> None:
        """Refuse a case of ``split`` that is one of ``other`` as well, by name or by content."""
        beside = self._beside(root, other, everything)
        both = [pair.name for pair in pairs if pair in beside]
        if both:
            raise UserError(
                f"{root}: {split}.txt and {other}.txt both name {few(both, 3)}; a case is to be in "
                "one of them"
            )
        files = {pair.image for pair in pairs}
        same = twin(sorted(files), sorted({pair.image for pair in beside} - files))
        if same is not None:
            raise UserError(
                f"{same[0]} ({split}) and {same[1]} ({other}) hold the same bytes; take one away, "
                "or put both into one split"
            )

    def _beside(self, root: Path, split: str, everything: list[Pair] | None) -> list[Pair]:
        """The cases of another split; none where it is not there, which its opening says."""
        try:
            if everything is not None:
                return self._chosen(root, split, everything)
            images, _ = self._from_folders(root, split)
            return [Pair(stem(path), str(path)) for path in list_images(images)]
        except UserError:
            return []

    def _from_folders(self, root: Path, split: str) -> tuple[Path, Path]:
        for images, masks in self._folders(root, split):
            if images.is_dir():
                return images, masks
        wanted = self._folders(root, split)[0][0]
        raise UserError(f"{root}: no folder {wanted} for the split {split!r}")

    def _from_file(self, root: Path, split: str, pairs: list[Pair]) -> list[Pair] | None:
        listed = next((f for a in SPLITS[split] if (f := root / f"{a}.txt").is_file()), None)
        if listed is None:
            if (root / "train.txt").is_file():
                raise UserError(f"{root}: train.txt is there but no {split}.txt")
            return None
        names = [line.strip() for line in listed.read_text().splitlines() if line.strip()]
        known = _by_name(pairs)
        lines = {name: _named(Path(name).name, known) for name in names}
        missing = [name for name, meant in lines.items() if not meant]
        chosen = {pair for meant in lines.values() for pair in meant}
        if missing or not chosen:
            what = f"names {few(missing, 3)}, not in {self.images}" if missing else "is empty"
            raise UserError(f"{listed}: {what}")
        return [pair for pair in pairs if pair in chosen]

    def _from_fractions(self, root: Path, split: str, pairs: list[Pair]) -> list[Pair]:
        files = {pair.image: stem(pair.image) for pair in pairs}
        if len(files) > 1:
            order = sorted(
                files, key=lambda f: hashlib.sha256(f"{self.seed}/{files[f]}".encode()).digest()
            )
            units = [[p for p in pairs if p.image == file] for file in order]
        else:
            units = [[pair] for pair in reversed(pairs)]
        held = [_count(self.validation, len(units)), _count(self.test, len(units))]
        bounds = {
            "validation": units[: held[0]],
            "test": units[held[0] : sum(held)],
            "train": units[sum(held) :],
        }
        chosen = [pair for unit in bounds[split] for pair in unit]
        if not chosen:
            share = f"{split}={getattr(self, split)}" if split != "train" else "the fractions"
            raise UserError(f"{root}: {share} leaves no {split} case of {len(units)}")
        return sorted(chosen, key=lambda pair: (pair.image, pair.page or 0))

    def _pair(self, images: Path, masks: Path, *, unlabeled: bool) -> list[Pair]:
        found = list_images(images)
        by_stem: dict[str, Path] = {}
        for path in found:
            if stem(path) in by_stem:
                raise UserError(f"{path}: {by_stem[stem(path)].name} has the same name")
            by_stem[stem(path)] = path
        if unlabeled and not masks.is_dir():
            return [pair for path in found for pair in _slices(path, None, self.rank)]
        targets = {stem(path): path for path in list_images(masks)}
        missing = [p for s, p in by_stem.items() if s + self.mask_suffix not in targets]
        if missing:
            wanted = f"{stem(missing[0])}{self.mask_suffix}.*"
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(f"{missing[0]}: no mask {masks / wanted}{more}")
        return [
            pair
            for name, path in by_stem.items()
            for pair in _slices(path, targets[name + self.mask_suffix], self.rank)
        ]


def _by_name(pairs: list[Pair]) -> list[dict[str, list[Pair]]]:
    """Cases by what a line of a split file may hold: the file, the case, the stem of the file."""
    tables: list[dict[str, list[Pair]]] = [{}, {}, {}]
    for pair in pairs:
        names = (Path(pair.image).name, pair.name, stem(pair.image))
        for table, name in zip(tables, names, strict=True):
            table.setdefault(name, []).append(pair)
    return tables


def _named(name: str, known: list[dict[str, list[Pair]]]) -> list[Pair]:
    """The cases of a line; one that names a mask or another format is taken by its stem."""
    for wanted in (name, stem(name)):
        for table in known:
            if wanted in table:
                return table[wanted]
    return []


def _slices(image: Path, mask: Path | None, rank: int) -> list[Pair]:
    count = pages(image, rank=rank)
    target = None if mask is None else str(mask)
    if count is None:
        return [Pair(stem(image), str(image), target)]
    if mask is not None and pages(mask, rank=rank) != count:
        raise UserError(f"{mask}: {pages(mask, rank=rank)} slices, its image {image} has {count}")
    return [Pair(f"{stem(image)}_{i:04d}", str(image), target, i) for i in range(count)]


def _count(fraction: float, total: int) -> int:
    """The number that a fraction takes: at least one where it is asked for, and never all."""
    return min(max(round(fraction * total), 1), total - 1) if fraction > 0 else 0
