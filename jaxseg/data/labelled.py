"""New labelled data: a folder of images and a folder of masks that are no split of anything."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxseg.data.folder import Folder
from jaxseg.data.region import Region
from jaxseg.data.source import Pairs
from jaxseg.errors import UserError


@dataclass(frozen=True)
class Labelled:
    """All images in the folder ``images`` with the masks of the same names in ``masks``.

    ``reading`` says how files are paired and read.
    """

    reading: Folder
    images: str
    masks: str

    @property
    def num_classes(self) -> int:
        """The reading's number of classes."""
        return self.reading.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The reading's names of classes."""
        return self.reading.class_names

    @property
    def channels(self) -> int:
        """The reading's number of channels."""
        return self.reading.channels

    @property
    def rank(self) -> int:
        """The reading's number of spatial axes."""
        return self.reading.rank

    def open(self, root: str, split: str) -> Pairs:
        """The pairs, whatever root and split: an image without a mask is refused."""
        del root, split
        return self.reading.pairs(Path(self.images), Path(self.masks))


def reading_of(dataset: Any) -> Folder:
    """A `Folder` that reads masks as ``dataset`` does; class numbers, where it does not say."""
    if isinstance(dataset, Region):
        return reading_of(dataset.dataset)
    if isinstance(dataset, Folder):
        return dataset
    own = ("values", "colors", "ignore", "instances")
    said = {name: getattr(dataset, name) for name in own if hasattr(dataset, name)}
    names = tuple(dataset.class_names or ())
    return Folder(dataset.num_classes, dataset.channels, dataset.rank, names, **said)


def labelled(
    dataset: Any, images: str | Path, masks: str | Path, values: Sequence[int] | None = None
) -> Labelled:
    """New files for a run on ``dataset``.

    Masks are read as ``dataset`` reads its own, as far as it says (`reading_of`); ``values[k]``,
    where given, is what they hold for class k.
    """
    reading = reading_of(dataset)
    if values is not None:
        if len(values) < dataset.num_classes:
            raise UserError(
                f"--values {','.join(map(str, values))}: {len(values)} numbers for "
                f"{dataset.num_classes} classes; give one a class"
            )
        reading = dataclasses.replace(
            reading, values=tuple(values), colors=None, ignore=None, instances=False
        )
    if Path(images).resolve() == Path(masks).resolve() and not reading.mask_suffix:
        raise UserError(f"--masks {masks}: the folder of the images; name that of the masks")
    return Labelled(reading, str(images), str(masks))
