"""COCO's annotations, polygons and run lengths, drawn as class masks.

Lin et al. 2014, https://doi.org/10.1007/978-3-319-10602-1_48; https://cocodataset.org/#format-data
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from jaxseg.data.images import read_image, stem
from jaxseg.data.outlines import filled
from jaxseg.data.source import READING, existing, unknown_split
from jaxseg.data.splits import SPLITS, Shares, refuse_shared
from jaxseg.errors import UserError, first_line, require, unknown
from jaxseg.types import IGNORE

Unlisted = Literal["refuse", "background", "ignore"]


@dataclass(frozen=True)
class COCO:
    """Class 0 is background, class ``k`` the k-th of ``categories``, by their names in the file.

    ``annotations`` are the JSON files of train, validation and test in ``data.root``, ``images``
    the folders in which their ``file_name`` lie; "" where there is none. Without a file for
    validation, images of the first one validate: see `jaxseg.data.splits.Shares`.

    Annotations are drawn in the order of the file, so that a later one covers an earlier one.
    Crowds, and with ``unlisted="ignore"`` objects of categories that are not listed, are IGNORE
    where no object is drawn; "background" leaves the latter out, "refuse" asks for a word.
    ``instances`` keeps the number of each object, from 1 in that order. An image without
    annotations is background throughout. Needs pycocotools: ``pip install "jaxseg[instance]"``.
    """

    rank = 2

    categories: tuple[str, ...]
    channels: int = 3
    annotations: tuple[str, str, str] = (
        "annotations/instances_train2017.json",
        "annotations/instances_val2017.json",
        "",
    )
    images: tuple[str, str, str] = ("train2017", "val2017", "")
    unlisted: Unlisted = "refuse"
    instances: bool = False
    validation: float = 0.2
    test: float = 0.0
    seed: int = 0
    fold: int | None = None
    folds: int = 5

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        fine = self.categories and len(set(self.categories)) == len(self.categories)
        require(bool(fine), "data.dataset.categories", self.categories, "names, none twice")
        words = ("refuse", "background", "ignore")
        what = f"one of {', '.join(words)}"
        require(self.unlisted in words, "data.dataset.unlisted", self.unlisted, what)
        self._shares()
        for given, name, value in (
            (self.annotations[1], "fold", self.fold),
            (self.annotations[1] or self.annotations[2], "test", self.test or None),
        ):
            if given and value is not None:
                raise UserError(
                    f"data.dataset.{name}={value}: annotations={self.annotations} has a file for "
                    "that already; write '' in its place, or leave this out"
                )

    @property
    def num_classes(self) -> int:
        """The categories and background."""
        return 1 + len(self.categories)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Background and the categories."""
        return ("background", *self.categories)

    def open(self, root: str, split: str) -> "Drawn":
        """Reads the annotations; what belongs to no image or no category ends here."""
        _require_pycocotools()
        folder = existing(root, "images and COCO annotations")
        if split not in SPLITS:
            raise unknown_split(split, tuple(SPLITS), str(folder))
        opened: dict[str, list[Picture]] = {}
        pictures = self._pictures(folder, split, opened)
        if not pictures and not (split == "validation" and self._shares().without_validation):
            raise UserError(f"{folder}: annotations={self.annotations} have no {split} split")
        refuse_shared(
            str(folder), split, lambda s: {p.file for p in self._pictures(folder, s, opened)}
        )
        return Drawn(tuple(pictures), self)

    def _pictures(
        self, folder: Path, split: str, opened: dict[str, list["Picture"]]
    ) -> list["Picture"]:
        """The images of a split; ``opened`` keeps what each file holds."""
        number = tuple(SPLITS).index(split)
        shared = split == "train" or not self.annotations[number]
        file = self.annotations[0 if shared else number]
        if file not in opened:
            place = self.images[0 if shared else number]
            opened[file] = _read(folder / file, folder / place, self)
        if not shared or (split == "train" and self.annotations[1]):
            return opened[file]
        if self.annotations[1] or (split == "test" and not self.test):
            return []
        names = [picture.name for picture in opened[file]]
        chosen = self._shares().chosen(names, split, str(folder / file))
        return [picture for picture in opened[file] if picture.name in chosen]

    def _shares(self) -> Shares:
        return Shares(self.validation, self.test, self.seed, self.fold, self.folds)


@dataclass(frozen=True)
class Picture:
    """One image, the JSON that annotates it, and what is drawn: id, class (or IGNORE), outline.

    Outlines stay JSON until they are drawn: as lists of numbers they take four times the memory.
    """

    name: str
    file: str
    annotations: str
    shape: tuple[int, int]
    objects: tuple[tuple[int | str, int, str], ...]

    def mask(self, number: int | str, outline: str) -> Bool[np.ndarray, "h w"]:
        """The pixels of the annotation of that id."""
        return filled(json.loads(outline), self.shape, f"{self.annotations}: annotation {number}")


@dataclass(frozen=True)
class Drawn:
    """A source that draws an image's annotations when it is read."""

    pictures: tuple[Picture, ...]
    dataset: COCO

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict:
        picture = self.pictures[index]
        label = np.zeros(picture.shape, np.int32)
        instance = np.zeros(picture.shape, np.int32)
        for number, kind, outline in picture.objects:
            if kind == IGNORE:
                label[picture.mask(number, outline)] = IGNORE
        drawn = [found for found in picture.objects if found[1] != IGNORE]
        for count, (number, kind, outline) in enumerate(drawn, start=1):
            mask = picture.mask(number, outline)
            label[mask], instance[mask] = kind, count
        image = read_image(picture.file, channels=self.dataset.channels)
        case = {"name": picture.name, "image": image, "label": label}
        return case | ({"instance": instance} if self.dataset.instances else {})

    def files(self, index: int) -> tuple[str, ...]:
        """The file of the image, then that of its annotations."""
        return self.pictures[index].file, self.pictures[index].annotations

    def key(self, index: int) -> str:
        """The image's path, size and time of change, what is drawn, and how."""
        picture = self.pictures[index]
        stat = Path(picture.file).stat()
        seen = str(Path(picture.file).resolve()), stat.st_mtime_ns, stat.st_size
        drawn = hashlib.sha256(repr((picture.shape, picture.objects)).encode()).hexdigest()
        return repr((READING, seen, drawn, self.dataset.channels, self.dataset.instances))


def _require_pycocotools() -> None:
    if importlib.util.find_spec("pycocotools") is None:
        raise UserError('data.dataset: COCO needs pycocotools: pip install "jaxseg[instance]"')


def _read(path: Path, images: Path, dataset: COCO) -> list[Picture]:
    """Every image of a file with what is to be drawn, in the order of the file."""
    tree = _parsed(path)
    kinds = _kinds(tree["categories"], path, dataset)
    found: dict[Any, list[tuple[int | str, int, str]]] = {
        _of(x, "id", path): [] for x in tree["images"]
    }
    if len(found) < len(tree["images"]):
        raise UserError(f"{path}: two images have one id")
    for one in tree["annotations"]:
        number, image, category = (_of(one, n, path) for n in ("id", "image_id", "category_id"))
        here = f"{path}: annotation {number}"
        if image not in found:
            raise UserError(f"{here}: there is no image of image_id {image}")
        if category not in kinds:
            raise UserError(f"{here}: there is no category of category_id {category}")
        name, kind = kinds[category]
        if kind is None and dataset.unlisted == "refuse":
            raise UserError(
                f"{here}: category {name!r} is not in data.dataset.categories; list it, or set "
                'data.dataset.unlisted to "background" or "ignore"'
            )
        if one.get("iscrowd"):
            kind = kind and IGNORE
        if kind is not None:
            found[image].append((number, kind, json.dumps(one.get("segmentation"))))
    return [_picture(x, tuple(found[x["id"]]), path, images) for x in tree["images"]]


def _parsed(path: Path) -> dict[str, list[Any]]:
    try:
        tree = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: no such file; data.dataset.annotations are the files of train, validation "
            "and test"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    for name in ("images", "annotations", "categories"):
        if not isinstance(tree, dict) or not isinstance(tree.get(name), list):
            raise UserError(f"{path}: has no list {name!r}, as COCO's annotations of objects have")
    if not tree["images"]:
        raise UserError(f"{path}: holds no image")
    return tree


def _of(one: Any, name: str, path: Path) -> Any:
    """A field that every entry has: a number or a word."""
    if not isinstance(one, Mapping) or not isinstance(one.get(name), int | str):
        raise UserError(f"{path}: an entry without {name!r}: {str(one)[:80]}")
    return one[name]


def _kinds(
    categories: Sequence[Any], path: Path, dataset: COCO
) -> dict[Any, tuple[str, int | None]]:
    """Name and class by the file's id of a category; class None of what is not listed."""
    names = {_of(one, "id", path): str(_of(one, "name", path)) for one in categories}
    for name in dataset.categories:
        if name not in names.values():
            what = f"{path}: data.dataset.categories: no category is called"
            raise unknown(what, name, names.values())
    other = IGNORE if dataset.unlisted == "ignore" else None
    listed = {name: number for number, name in enumerate(dataset.categories, start=1)}
    return {key: (name, listed.get(name, other)) for key, name in names.items()}


def _picture(entry: Any, objects: tuple, path: Path, images: Path) -> Picture:
    name = str(_of(entry, "file_name", path))
    height, width = (_of(entry, side, path) for side in ("height", "width"))
    if not all(isinstance(n, int) and n > 0 for n in (height, width)):
        raise UserError(f"{path}: image {name}: of size {height} x {width}")
    file = images / name
    if not file.is_file():
        raise UserError(f"{path}: image {name}: no such file {file}; see data.dataset.images")
    named = (Path(name).parent / stem(name)).as_posix()
    return Picture(named, str(file), str(path), (height, width), objects)
