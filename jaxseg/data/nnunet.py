"""nnU-Net's raw format: ``imagesTr/case_0000.nii.gz``, a file a channel, beside ``dataset.json``.

Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z; the format of version 2:
https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxseg.data.checks import few
from jaxseg.data.images import SUFFIXES, list_images
from jaxseg.data.source import Masks, Pair, Pairs, existing, unknown_split
from jaxseg.data.splits import SPLITS, Shares, refuse_shared
from jaxseg.errors import UserError, first_line

PARTS = {"train": "Tr", "validation": "Tr", "test": "Ts"}
"""How the folders of images and labels end, by split."""


@dataclass(frozen=True)
class NNUNet:
    """The cases of ``imagesTr`` and ``labelsTr``; those of ``imagesTs`` are the split ``test``.

    ``NNUNet.of("Dataset004_Hippocampus")`` takes classes and channels from ``dataset.json``; typed
    by hand they are held against it. The channels of a case are stacked in their order and must lie
    on one grid. A label called ``ignore`` becomes IGNORE. ``validation``, ``seed``, ``fold`` and
    ``folds`` are those of `jaxseg.data.splits.Shares`; nnU-Net's own folds are taken where its
    ``splits_final.json`` was copied into the folder, and ``validation=0.0`` trains on all cases.
    """

    num_classes: int
    channels: int = 1
    rank: int = 3
    class_names: tuple[str, ...] = ()
    validation: float = 0.2
    seed: int = 0
    fold: int | None = None
    folds: int = 5

    @classmethod
    def of(cls, root: Path | str, **fields: Any) -> "NNUNet":
        """The data set that ``root/dataset.json`` describes; ``fields`` are the others."""
        said = _described(Path(root).expanduser())
        return cls(
            num_classes=len(said.class_names),
            channels=said.channels,
            class_names=said.class_names,
            **fields,
        )

    def __post_init__(self) -> None:
        """Refuse impossible shares."""
        self._shares()

    def open(self, root: str, split: str) -> Pairs:
        """Pairs files by name; a channel or a label that is missing ends here."""
        folder = existing(root, "nnU-Net's raw data set")
        if split not in SPLITS:
            raise unknown_split(split, tuple(SPLITS), str(folder))
        said = _described(folder)
        self._refuse_other(said, folder)
        every = {part: _cases(folder, part, said) for part in ("Tr", "Ts")}
        by_split = {name: self._of(every[part], name, folder) for name, part in PARTS.items()}
        if split == "test" and not by_split["test"]:
            raise UserError(f"{folder}: holds no imagesTs, so there is no test split")
        refuse_shared(str(folder), split, lambda s: {pair.image for pair in by_split[s]})
        masks = Masks(self.num_classes, ignore=said.ignore)
        return Pairs(tuple(by_split[split]), masks, self.channels, self.rank)

    def _of(self, pairs: list[Pair], split: str, folder: Path) -> list[Pair]:
        if split == "test":
            return pairs
        names, shares = [pair.name for pair in pairs], self._shares()
        path = folder / "splits_final.json"
        if path.is_file() and not shares.without_validation:
            chosen = _in_final(path, self.fold, split, names)
        else:
            chosen = shares.chosen(names, split, str(folder))
        return [pair for pair in pairs if pair.name in chosen]

    def _shares(self) -> Shares:
        return Shares(self.validation, 0.0, self.seed, self.fold, self.folds)

    def _refuse_other(self, said: "Described", folder: Path) -> None:
        """Refuse constants that are not those of the file."""
        wanted = {
            "num_classes": len(said.class_names),
            "channels": said.channels,
            "class_names": said.class_names,
        }
        for name, value in wanted.items():
            have = getattr(self, name)
            if have != value and (have or name != "class_names"):
                raise UserError(
                    f"{folder / 'dataset.json'}: data.dataset.{name}={have!r}, and the file says "
                    f"{value!r}; NNUNet.of({str(folder)!r}) takes it from there"
                )


@dataclass(frozen=True)
class Described:
    """What ``dataset.json`` says. ``ignore``: the number of the label of that name."""

    class_names: tuple[str, ...]
    channels: int
    ending: str
    ignore: tuple[int, ...]
    training: int | None


def _described(folder: Path) -> Described:
    path = folder / "dataset.json"
    tree = _parsed(path)
    wanted = {"channel_names": dict, "labels": dict, "file_ending": str}
    for name, kind in wanted.items():
        if not isinstance(tree, dict) or not isinstance(tree.get(name), kind):
            raise UserError(
                f"{path}: has no {name!r} ({kind.__name__}), which nnU-Net 2 writes; the "
                "Decathlon's format is converted by nnUNetv2_convert_MSD_dataset"
            )
    ending = tree["file_ending"]
    if ending not in SUFFIXES:
        raise UserError(f"{path}: files that end in {ending!r}; read are {' '.join(SUFFIXES)}")
    names, ignore = _labels(tree["labels"], path)
    training = tree.get("numTraining")
    training = training if isinstance(training, int) else None
    return Described(names, len(tree["channel_names"]), ending, ignore, training)


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; data.root is a DatasetXXX_Name folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error


def _labels(labels: dict[str, Any], path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names of the classes in their order, and the number of what is ignored."""
    for name, number in labels.items():
        if isinstance(number, bool) or not isinstance(number, int):
            raise UserError(
                f"{path}: label {name!r} is {number!r}; one number a class is read, regions are not"
            )
    ignore = tuple(number for name, number in labels.items() if name == "ignore")
    by_number = {number: name for name, number in labels.items() if name != "ignore"}
    if sorted(by_number) != list(range(len(labels) - len(ignore))) or not by_number:
        raise UserError(f"{path}: labels {labels}: must be 0, 1, 2, ... without a gap")
    return tuple(by_number[number] for number in sorted(by_number)), ignore


def _in_final(path: Path, fold: int | None, split: str, names: Sequence[str]) -> set[str]:
    """The cases of a fold that nnU-Net drew."""
    folds = _parsed(path)
    if not isinstance(folds, list) or not all(
        isinstance(one, dict) and isinstance(one.get(part), list)
        for one in folds
        for part in ("train", "val")
    ):
        raise UserError(f"{path}: no list of folds with train and val")
    if fold is None or fold >= len(folds):
        raise UserError(
            f"data.dataset.fold={fold}: {path} holds the folds 0 to {len(folds) - 1}; set one of "
            "them, or validation=0.0 to train on all cases"
        )
    parts = {part: set(folds[fold][part]) for part in ("train", "val")}
    both, absent = parts["train"] & parts["val"], (parts["train"] | parts["val"]) - set(names)
    if both or absent:
        what = "trains and validates on" if both else "names cases that are not there:"
        raise UserError(f"{path}: fold {fold} {what} {few(sorted(both or absent), 3)}")
    return parts["train" if split == "train" else "val"]


def _cases(folder: Path, part: str, said: Described) -> list[Pair]:
    """Images of all channels with their label, by name; of the test cases as far as there is."""
    images, labels = folder / f"images{part}", folder / f"labels{part}"
    if part == "Ts" and not images.is_dir():
        return []
    channels: dict[str, set[int]] = {}
    for path in _ending(images, said.ending):
        match = re.fullmatch(r"(.+)_(\d{4})", path.name[: -len(said.ending)])
        if match is None:
            raise UserError(f"{path}: its name does not end in _0000, _0001, ... as channels do")
        channels.setdefault(match[1], set()).add(int(match[2]))
    for name, have in channels.items():
        missing, more = set(range(said.channels)) - have, have - set(range(said.channels))
        file = images / f"{name}_{min(missing or more or {0}):04d}{said.ending}"
        if missing:
            raise UserError(f"{file}: no such file, and the case {name} has other channels")
        if more:
            raise UserError(f"{file}: dataset.json names {said.channels} channels")
    if part == "Ts" and not labels.is_dir():
        return [_pair(images, name, None, said) for name in channels]
    masks = {path.name[: -len(said.ending)]: path for path in _ending(labels, said.ending)}
    _refuse_unpaired(images, channels.keys(), labels, masks.keys(), said.ending)
    if part == "Tr" and said.training not in (None, len(masks)):
        raise UserError(
            f"{folder / 'dataset.json'}: numTraining={said.training}, and there are {len(masks)}"
        )
    return [_pair(images, name, masks[name], said) for name in channels]


def _refuse_unpaired(images: Path, have: Any, labels: Path, labelled: Any, ending: str) -> None:
    for name in sorted(have - labelled):
        raise UserError(f"{images / name}_0000{ending}: no label {labels / name}{ending}")
    for name in sorted(labelled - have):
        raise UserError(f"{labels / name}{ending}: no image {images / name}_0000{ending}")


def _ending(folder: Path, ending: str) -> list[Path]:
    """The files with the data set's ending; one of another is refused."""
    found = list_images(folder)
    others = [path.name for path in found if not path.name.endswith(ending)]
    if others:
        raise UserError(f"{folder}: {few(others, 3)} do not end in {ending}, the file_ending")
    return found


def _pair(images: Path, name: str, label: Path | None, said: Described) -> Pair:
    first, *more = (str(images / f"{name}_{c:04d}{said.ending}") for c in range(said.channels))
    return Pair(name, first, None if label is None else str(label), more=tuple(more))
