"""Pascal VOC 2012: photographs of 20 kinds of objects, with background.

Everingham et al. 2012, http://host.robots.ox.ac.uk/pascal/VOC/voc2012, 1464 / 1449 / 1456 images.

What papers call "trainaug" are 10,582 training images: those of VOC and of SBD (Hariharan et al.
2011, https://doi.org/10.1109/ICCV.2011.6126343) that VOC does not validate on, with masks in the
one folder ``SegmentationClassAug``. The rim of objects (255 in the files) is IGNORE.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxseg.data.checks import few
from jaxseg.data.images import list_images, stem
from jaxseg.data.source import Masks, Pair, Pairs, existing, unknown_split
from jaxseg.errors import UserError

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "dining table",
    "dog",
    "horse",
    "motorbike",
    "person",
    "potted plant",
    "sheep",
    "sofa",
    "train",
    "tv monitor",
)


@dataclass(frozen=True, kw_only=True)
class VOC2012:
    """``root`` is ``VOCdevkit/VOC2012``: JPEGImages, SegmentationClass, ImageSets/Segmentation.

    ``train`` names the list that trains: ``trainaug`` reads its masks in ``SegmentationClassAug``;
    ``trainval`` trains on what validates too, as for the test server, and then its scores on
    ``validation`` say nothing. The split ``test`` has no masks.
    """

    num_classes = len(CLASSES)
    class_names = CLASSES
    channels = 3
    rank = 2

    train: Literal["train", "trainaug", "trainval"] = "train"

    def open(self, root: str, split: str) -> Pairs:
        """``train``, ``validation`` or ``test``, in the order of the list."""
        folder = existing(root, "VOC2012")
        lists = {"train": self.train, "validation": "val", "test": "test"}
        if split not in lists:
            raise unknown_split(split, tuple(lists), str(folder))
        names = _listed(folder, lists[split])
        if split == "train" and self.train != "trainval":
            self._refuse_shared(folder, names)
        aug = split == "train" and self.train == "trainaug"
        masks = None if split == "test" else "SegmentationClassAug" if aug else "SegmentationClass"
        images = _found(folder / "JPEGImages", names)
        targets = _found(folder / masks, names) if masks else {}
        pairs = tuple(Pair(name, str(images[name]), targets.get(name)) for name in names)
        return Pairs(pairs, Masks(self.num_classes, ignore=(255,)), self.channels)

    def _refuse_shared(self, folder: Path, names: list[str]) -> None:
        both = sorted(set(names) & set(_listed(folder, "val")))
        if both:
            raise UserError(
                f"{_list_of(folder, self.train)}: {few(both, 3)} validate by val.txt; "
                'dataset.train="trainval" is to train on both'
            )


def _list_of(folder: Path, name: str) -> Path:
    return folder / "ImageSets" / "Segmentation" / f"{name}.txt"


def _listed(folder: Path, name: str) -> list[str]:
    """The names of a list; trainaug's may be pairs of paths, of image and mask."""
    path = _list_of(folder, name)
    if not path.is_file():
        raise UserError(f"{path}: no such file; data.root must be VOCdevkit/VOC2012")
    names = [stem(line.split()[0]) for line in path.read_text().splitlines() if line.split()]
    if not names:
        raise UserError(f"{path}: names no image")
    return names


def _found(folder: Path, names: list[str]) -> dict[str, str]:
    """The file of each name."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; data.root must be VOCdevkit/VOC2012")
    files = {stem(path): str(path) for path in list_images(folder)}
    missing = [name for name in names if name not in files]
    if missing:
        raise UserError(f"{folder}: no image {few(missing, 3)}, which the list names")
    return files
