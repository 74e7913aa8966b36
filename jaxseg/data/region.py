"""Parts of images as splits: one volume by slabs, one large picture by rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jaxseg.data.checks import size
from jaxseg.data.protocols import Source, check_data_set, check_source, files_of
from jaxseg.data.source import unknown_split
from jaxseg.errors import UserError, require
from jaxseg.types import BATCH_FIELDS


@dataclass(frozen=True)
class Region:
    """Every case of ``dataset``'s split ``train``, cut in two along ``axis``: 0 is rows or depth.

    The last ``validation`` of the axis validates and what lies before trains, but for ``gap``
    pixels between the two, which neither sees: neighbours are alike. ``dataset`` keeps no case back
    itself, as ``Folder(num_classes=2, validation=0.0)``; its split ``test`` stays whole.
    """

    dataset: Any  # a DataSet; `check_data_set` says what is missing
    axis: int = 0
    validation: float = 0.2
    gap: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_data_set(self.dataset)
        rank = self.dataset.rank
        require(0 <= self.axis < rank, "data.dataset.axis", self.axis, f"from 0 to {rank - 1}")
        what = "above 0 and below 1"
        require(0 < self.validation < 1, "data.dataset.validation", self.validation, what)
        require(self.gap >= 0, "data.dataset.gap", self.gap, "at least 0")

    @property
    def num_classes(self) -> int:
        """Classes of the data set that is cut."""
        return self.dataset.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of its classes."""
        return self.dataset.class_names

    @property
    def channels(self) -> int:
        """Channels of its images."""
        return self.dataset.channels

    @property
    def rank(self) -> int:
        """Spatial axes of its images."""
        return self.dataset.rank

    def open(self, root: str, split: str) -> Source:
        """The parts of a split."""
        if split == "test":
            return self.dataset.open(root, split)
        if split not in ("train", "validation"):
            raise unknown_split(split, ("train", "validation", "test"), "data.dataset")
        whole = self.dataset.open(root, "train")
        check_source(whole, self.dataset)
        if self._kept_back(root):
            raise UserError(
                "data.dataset.dataset: keeps cases back to validate, which a Region would lose; "
                "set data.dataset.dataset.validation=0.0"
            )
        return Part(whole, self, split)

    def _kept_back(self, root: str) -> int:
        """The number of cases of its own validation split."""
        try:
            return len(self.dataset.open(root, "validation"))
        except UserError:  # there is none
            return 0

    def bounds(self, length: int, split: str) -> tuple[int, int]:
        """Where a split begins and ends on an axis of so many pixels."""
        first = length - max(round(self.validation * length), 1)
        return (first, length) if split == "validation" else (0, first - self.gap)


@dataclass(frozen=True)
class Part:
    """The same part of every case of a source."""

    whole: Source
    region: Region
    split: str

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> dict:
        case, axis = self.whole[index], self.region.axis
        name = self.files(index)[0]
        if "objects" in case:
            raise UserError(f"{name}: has objects, whose boxes a Region does not cut")
        shape = case["image"].shape[:-1]
        first, last = self.region.bounds(shape[axis], self.split)
        if last <= first:
            raise UserError(
                f"{name}: {size(shape)} leaves nothing to {self.split} on along axis {axis} with "
                f"validation={self.region.validation}, gap={self.region.gap}"
            )
        cut = (*(slice(None),) * axis, slice(first, last))
        parts = {name: case[name][cut] for name in _maps(case)}
        return case | parts | {"name": f"{case.get('name', index)}[{first}:{last}]"}

    def files(self, index: int) -> tuple[str, ...]:
        """The files of the whole case."""
        return files_of(self.whole, index)

    def __getattr__(self, name: str) -> Any:
        if name == "key" and hasattr(self.whole, "key"):
            return self._key
        raise AttributeError(name)

    def _key(self, index: int) -> str:
        return repr((self.whole.key(index), self.region, self.split))  # pyright: ignore


def _maps(case: dict) -> Iterable[str]:
    """The fields of a case with a value for each pixel."""
    return [n for n in case if BATCH_FIELDS.get(n) in ("image", "classes", "factor")]
