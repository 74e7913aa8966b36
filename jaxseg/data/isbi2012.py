"""ISBI 2012: segmentation of neuronal structures in electron-microscopy stacks.

Cardona et al. 2010; Arganda-Carreras et al. 2015, https://doi.org/10.3389/fnana.2015.00142.
30 slices of 512 x 512 of one serial-section volume of Drosophila larva, 4 x 4 x 50 nm.

The challenge's test labels are hidden: here slices 0-23 train and 24-29 validate, so that numbers
are not the leaderboard's. The split follows z, because neighbouring slices are alike.
"""

from dataclasses import dataclass
from pathlib import Path

from jaxseg.data.images import list_images, pages, stem
from jaxseg.data.source import Masks, Pair, Pairs, existing, unknown_split
from jaxseg.errors import UserError

RANGES = {"train": range(0, 24), "validation": range(24, 30)}


@dataclass(frozen=True)
class ISBI2012:
    """Classes: 0 membrane (0 in the files, 22 % of the pixels), 1 cell (255).

    Reads ``train/image/*.png`` and ``train/label/*.png`` in z order, or the challenge's own
    ``train-volume.tif`` and ``train-labels.tif``.
    """

    num_classes = 2
    class_names = ("membrane", "cell")
    channels = 1
    rank = 2  # sections lie 50 nm apart, their pixels 4 nm: too far for 3-D

    def open(self, root: str, split: str) -> Pairs:
        """``train`` (24 slices) or ``validation`` (6)."""
        folder = existing(root, "ISBI 2012")
        if split not in RANGES:
            raise unknown_split(split, tuple(RANGES), str(folder))
        every = _stacks(folder) or _files(folder)
        if len(every) != 30:
            raise UserError(f"{folder}: {len(every)} slices where ISBI 2012 has 30")
        pairs = tuple(every[z] for z in RANGES[split])
        return Pairs(pairs, Masks(self.num_classes, values=(0, 255)), self.channels)


def _stacks(root: Path) -> list[Pair]:
    for folder in (root, root / "train"):
        volume, labels = folder / "train-volume.tif", folder / "train-labels.tif"
        if volume.is_file() and labels.is_file():
            count = pages(volume) or 1
            return [Pair(f"{z:02d}", str(volume), str(labels), z) for z in range(count)]
    return []


def _files(root: Path) -> list[Pair]:
    folder = root / "train" if (root / "train").is_dir() else root
    images, labels = folder / "image", folder / "label"
    if not images.is_dir() or not labels.is_dir():
        raise UserError(f"{root}: neither train/image and train/label nor train-volume.tif here")
    masks = {stem(path): path for path in list_images(labels)}
    found = sorted(list_images(images), key=lambda p: (len(stem(p)), stem(p)))  # 2 before 10
    missing = [path for path in found if stem(path) not in masks]
    if missing:
        raise UserError(f"{missing[0]}: no mask {labels / stem(missing[0])}.*")
    return [Pair(stem(path), str(path), str(masks[stem(path)])) for path in found]
