"""Any TensorFlow Datasets name, read as random-access records with no TensorFlow.

The data set must have been prepared in a random-access format (``file_format="array_record"``):
``tfds.data_source`` reads those through its own decoders and never imports TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.data.checks import few, integral
from jaxseg.data.source import Masks, existing, unknown_split
from jaxseg.errors import UserError


@dataclass(frozen=True)
class TFDS:
    """Data set ``name`` (``"oxford_iiit_pet"``, ``"mine/small:1.0.0"``) under ``data.root``.

    ``data.root`` is the TFDS data folder, or the folder of one prepared version (with
    ``dataset_info.json``; ``name`` then only names it). ``image_key`` and ``label_key`` are its
    features. ``splits``: what train, validation and test are called there, slices such as
    ``"train[:80%]"`` included; "" where there is none, and without validation a run has none.
    ``values[k]``: what the record holds for class k, if not k; ``ignore``: what
    becomes IGNORE, 255 unless it is a class (`jaxseg.data.source.Masks`).
    """

    name: str
    num_classes: int
    image_key: str = "image"
    label_key: str = "segmentation_mask"
    channels: int = 3
    rank: int = 2
    class_names: tuple[str, ...] = ()
    splits: tuple[str, str, str] = ("train", "validation", "test")
    values: tuple[int, ...] | None = None
    ignore: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse `values` and `ignore` that contradict each other."""
        self.reading()

    def reading(self) -> Masks:
        """How the numbers of a record become classes."""
        return Masks(self.num_classes, values=self.values, ignore=self.ignore)

    def open(self, root: str, split: str) -> "Records":
        """The split's records; a name, split or feature that is not there is said at once."""
        folder = existing(root, f"TensorFlow Datasets ({self.name})")
        train, validation, test = self.splits
        named = {"train": train, "validation": validation, "test": test}
        if split == "validation" and not validation:
            return Records(self, "", "", ())
        if not named.get(split):
            known = tuple(s for s, there in named.items() if there)
            raise unknown_split(split, known, f"TFDS {self.name}")
        builder = _builder(self.name, folder)
        if not builder.info.splits:
            raise UserError(
                f"data.root={folder}: TFDS {self.name} is not prepared there (tfds build)"
            )
        asked = named[split].split("[")[0]
        if asked not in builder.info.splits:
            there = tuple(builder.info.splits)
            raise unknown_split(named[split], there, f"data.dataset.splits of TFDS {self.name}")
        self._refuse_shared(builder.info.splits, split)
        features = tuple(sorted(builder.info.features or ()))
        for key in (self.image_key, self.label_key):
            if key not in features:
                raise UserError(f"TFDS {self.name}: no feature {key!r}; it has {few(features)}")
        try:
            records = builder.as_data_source(split=named[split])
        except Exception as error:  # tfds raises many types here
            why = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"TFDS {self.name}: prepare it with file_format='array_record' ({why})"
            ) from error
        return Records(self, named[split], str(builder.data_path), records)

    def _refuse_shared(self, infos: Any, split: str) -> None:
        """Refuse slices that hold a record of another split."""
        train, validation, test = self.splits
        names = {"train": train, "validation": validation, "test": test}
        for other, spec in names.items():
            if other == split or spec.split("[")[0] not in infos:
                continue
            for part in infos[names[split]].file_instructions:
                for beside in infos[spec].file_instructions:
                    if part.filename == beside.filename and _overlap(part, beside):
                        raise UserError(
                            f"data.dataset.splits={self.splits}: {names[split]} and {spec} share "
                            f"records of {Path(part.filename).name}; a case is to be in one split, "
                            "and a split that is not there is called ''"
                        )


def _overlap(one: Any, other: Any) -> bool:
    """Whether two instructions read a record of their file both."""
    ends = [x.skip + x.take if x.take >= 0 else x.examples_in_shard for x in (one, other)]
    return max(one.skip, other.skip) < min(ends)


def _builder(name: str, folder: Path) -> Any:
    import tensorflow_datasets as tfds

    if (folder / "dataset_info.json").is_file():
        return tfds.builder_from_directory(str(folder))
    try:
        # from the prepared files where they are, so that no code of the data set is needed
        return tfds.builder(name, data_dir=str(folder), try_gcs=False)
    except Exception as error:
        raise UserError(f"data.root={folder}: no prepared TFDS {name!r} there") from error


@dataclass(frozen=True)
class Records:
    """One split; ``records`` is tfds's own random-access source."""

    dataset: TFDS
    split: str
    directory: str
    records: Sequence

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        chosen, record = self.dataset, self.records[index]
        image = np.asarray(record[chosen.image_key])
        if image.ndim == chosen.rank:
            image = image[..., None]
        label = np.asarray(record[chosen.label_key])
        if label.ndim == chosen.rank + 1 and label.shape[-1] == 1:
            label = label[..., 0]
        name = f"{self.split}_{index:06d}"
        where = self.files(index)[0]
        label = chosen.reading().classes(integral(label, where), where)
        return {"name": name, "image": image, "label": label}

    def files(self, index: int) -> tuple[str, ...]:
        """The record by split and number."""
        return (f"TFDS {self.dataset.name} {self.split}[{index}]",)

    def key(self, index: int) -> str:
        """The prepared folder, when it was prepared, and how it is read."""
        written = (Path(self.directory) / "dataset_info.json").stat().st_mtime_ns
        return repr((self.directory, written, self.dataset, self.split, index))
