"""A folder of images and a folder of masks, paired by name: how one brings one's own data."""

from dataclasses import dataclass
from pathlib import Path

from jaxseg.data.checks import few
from jaxseg.data.images import list_images, stem
from jaxseg.data.source import Masks, Pair, Pairs, existing, slices, unknown_split
from jaxseg.data.splits import SPLITS, Shares
from jaxseg.data.twins import refuse_twins
from jaxseg.errors import UserError, require


@dataclass(frozen=True)
class Folder:
    """Images in ``root/images``, masks of the same names (any suffix) in ``root/masks``.

    Side by side, as ``x.png`` and ``x_mask.png``, they are with ``images="."``, ``masks="."`` and
    ``mask_suffix="_mask"``. ``masks=""`` reads images that have none, for
    ``Data(labels="optional")``.

    Which case belongs to which split is found, first that exists, in

    1. sub-folders: ``root/train/images`` and ``root/train/masks``, or ``root/images/train`` and
       ``root/masks/train``; ``val`` and ``valid`` are ``validation``;
    2. split files: ``root/train.txt``, ``root/validation.txt`` (or ``val.txt``), ``root/test.txt``,
       one file name or stem a line;
    3. fractions: ``validation`` and ``test`` of the files, or the part ``fold`` of ``folds``, with
       the files of a ``group`` together: see `jaxseg.data.splits.Shares`. ``validation=0.0``
       trains without. The slices of one single stack are split along the stack instead (last part
       validation), since neighbouring slices are alike.

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
    fold: int | None = None
    folds: int = 5
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse impossible numbers, and names of folders that contradict each other."""
        for name in ("num_classes", "channels"):
            value = getattr(self, name)
            require(value >= 1, f"data.dataset.{name}", value, "at least 1")
        fine = self.rank in (2, 3)
        require(fine, "data.dataset.rank", self.rank, "2 for images, 3 for volumes")
        if not self.mask_suffix and self.masks and Path(self.images) == Path(self.masks):
            raise UserError(
                f"data.dataset.masks={self.masks!r}: the folder of the images; mask_suffix says "
                "how the names of the masks end"
            )
        if self.mask_suffix and not self.masks:
            raise UserError(f"data.dataset.mask_suffix={self.mask_suffix!r}: masks='' has no masks")
        self._shares()
        self._reading()  # refuses masks that contradict themselves

    def open(self, root: str, split: str) -> Pairs:
        """Pairs files; an image without mask, an empty folder and an unknown split end here."""
        folder = existing(root, "images and masks")
        if split not in SPLITS:
            raise unknown_split(split, tuple(SPLITS), str(folder))
        everything, nested = None, self._nested(folder)
        if nested or (folder / "train.txt").is_file():
            self._refuse_unused(folder, "its sub-folders fix" if nested else "train.txt fixes")
        if not nested:
            everything = self._pair(folder / self.images, self._masks(folder), unlabeled=False)
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

    def _shares(self) -> Shares:
        return Shares(self.validation, self.test, self.seed, self.fold, self.folds, self.group)

    def _refuse_unused(self, root: Path, fixes: str) -> None:
        """Refuse what would draw splits where they are given."""
        for name, value in (("fold", self.fold), ("group", self.group or None)):
            if value is not None:
                raise UserError(f"data.dataset.{name}={value!r}: {root}: {fixes} the splits")

    def _nested(self, root: Path) -> bool:
        """Whether sub-folders tell the splits apart."""
        return any(images.is_dir() for split in SPLITS for images, _ in self._folders(root, split))

    def _folders(self, root: Path, split: str) -> list[tuple[Path, Path | None]]:
        by_split = [root / alias for alias in SPLITS[split]]
        inside = [(root / self.images / alias, alias) for alias in SPLITS[split]]
        return [(folder / self.images, self._masks(folder)) for folder in by_split] + [
            (images, self._masks(root, alias)) for images, alias in inside
        ]

    def _masks(self, root: Path, alias: str = "") -> Path | None:
        """The folder of the masks; None where there are none."""
        return root / self.masks / alias if self.masks else None

    def _chosen(self, root: Path, split: str, everything: list[Pair] | None) -> list[Pair]:
        """The cases of a split; ``everything``: of all splits, unless sub-folders decide."""
        if everything is None:
            if split == "validation" and self._shares().without_validation:
                if not any(images.is_dir() for images, _ in self._folders(root, split)):
                    return []
            images, masks = self._from_folders(root, split)
            return self._pair(images, masks, unlabeled=split == "test")
        named = self._from_file(root, split, everything)
        return self._from_shares(root, split, everything) if named is None else named

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
        refuse_twins({pair.image for pair in pairs}, split, {pair.image for pair in beside}, other)

    def _beside(self, root: Path, split: str, everything: list[Pair] | None) -> list[Pair]:
        """The cases of another split; none where it is not there, which its opening says."""
        try:
            if everything is not None:
                return self._chosen(root, split, everything)
            images, _ = self._from_folders(root, split)
            return [Pair(stem(path), str(path)) for path in list_images(images)]
        except UserError:
            return []

    def _from_folders(self, root: Path, split: str) -> tuple[Path, Path | None]:
        for images, masks in self._folders(root, split):
            if images.is_dir():
                return images, masks
        wanted = self._folders(root, split)[0][0]
        raise UserError(f"{root}: no folder {wanted} for the split {split!r}")

    def _from_file(self, root: Path, split: str, pairs: list[Pair]) -> list[Pair] | None:
        listed = next((f for a in SPLITS[split] if (f := root / f"{a}.txt").is_file()), None)
        if listed is None:
            if not (root / "train.txt").is_file():
                return None
            if split == "validation" and self._shares().without_validation:
                return []
            raise UserError(f"{root}: train.txt is there but no {split}.txt")
        names = [line.strip() for line in listed.read_text().splitlines() if line.strip()]
        known = _by_name(pairs)
        lines = {name: _named(Path(name).name, known) for name in names}
        missing = [name for name, meant in lines.items() if not meant]
        chosen = {pair for meant in lines.values() for pair in meant}
        if missing or not chosen:
            what = f"names {few(missing, 3)}, not in {self.images}" if missing else "is empty"
            raise UserError(f"{listed}: {what}")
        return [pair for pair in pairs if pair in chosen]

    def _from_shares(self, root: Path, split: str, pairs: list[Pair]) -> list[Pair]:
        files = list({pair.image: None for pair in pairs})
        if len(files) > 1:
            chosen = self._shares().chosen([stem(f) for f in files], split, str(root))
            return [pair for pair in pairs if stem(pair.image) in chosen]
        names = [pair.name for pair in pairs]
        chosen = self._shares().chosen(names, split, str(root), ordered=True)
        return [pair for pair in pairs if pair.name in chosen]

    def _pair(self, images: Path, masks: Path | None, *, unlabeled: bool) -> list[Pair]:
        """Images with their masks; ``unlabeled``: with none where their folder is not there."""
        found = list_images(images)
        if masks == images:  # side by side
            found = [path for path in found if not stem(path).endswith(self.mask_suffix)]
        by_stem = _by_stem(found)
        if masks is None or (unlabeled and not masks.is_dir()):
            return [pair for path in found for pair in slices(path, None, self.rank)]
        targets = self._targets(masks, by_stem)
        return [
            pair
            for name, path in by_stem.items()
            for pair in slices(path, targets[name + self.mask_suffix], self.rank)
        ]

    def _targets(self, masks: Path, images: dict[str, Path]) -> dict[str, Path]:
        """The masks by stem, one for each image and none without one."""
        if not masks.is_dir():
            raise UserError(f"{masks}: no such folder; masks='' reads images that have no masks")
        named = [path for path in list_images(masks) if stem(path).endswith(self.mask_suffix)]
        targets = _by_stem(named)
        missing = [p for s, p in images.items() if s + self.mask_suffix not in targets]
        if missing:
            wanted = f"{stem(missing[0])}{self.mask_suffix}.*"
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(f"{missing[0]}: no mask {masks / wanted}{more}")
        left = [p for s, p in targets.items() if s.removesuffix(self.mask_suffix) not in images]
        if left:
            folder = next(iter(images.values())).parent if images else masks
            wanted = f"{stem(left[0]).removesuffix(self.mask_suffix)}.*"
            more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
            raise UserError(f"{left[0]}: no image {folder / wanted}{more}")
        return targets


def _by_stem(files: list[Path]) -> dict[str, Path]:
    """Files by their stem; refuses two of one."""
    found: dict[str, Path] = {}
    for path in files:
        if stem(path) in found:
            raise UserError(f"{path}: {found[stem(path)].name} has the same name")
        found[stem(path)] = path
    return found


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
