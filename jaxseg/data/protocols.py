"""What an own data set provides: two protocols, and the line that names what is missing of them."""

from typing import Any, Protocol, runtime_checkable

from jaxseg.errors import UserError


@runtime_checkable
class Source(Protocol):
    """The cases of one split, by index; picklable, since worker processes hold a copy.

    Beside these two it may have ``files(index) -> tuple[str, ...]``, what an error about the image
    and (last) about the label is to name, and ``key(index) -> str``, which changes whenever what
    the case holds changes: without a key, nothing of it is cached on the disk.
    """

    def __len__(self) -> int:
        """Number of cases."""
        ...

    def __getitem__(self, index: int, /) -> dict:
        """``image [*spatial c]`` as stored, ``label`` int32 ``[*spatial]``, ``name``.

        No ``label`` where there is none. Where the data set knows them: ``instance`` (numbers of
        objects), ``spacing`` (mm along each axis), ``domain`` (a whole number), ``present`` (bool
        ``[k]``), ``objects`` (`jaxseg.types.Objects` of this image, without the axis ``b``).
        """
        ...


@runtime_checkable
class DataSet(Protocol):
    """A frozen dataclass that opens splits; its constants may be class attributes."""

    @property
    def num_classes(self) -> int:
        """Classes of the labels, background included."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label, or none at all."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the images."""
        ...

    @property
    def rank(self) -> int:
        """Spatial axes: 2 for images, 3 for volumes."""
        ...

    def open(self, root: str, split: str) -> Source:
        """The cases of "train", "validation" or "test" under ``root``."""
        ...


def check_data_set(dataset: Any) -> None:
    """Refuse what is no `DataSet`, by the name of what it lacks."""
    if isinstance(dataset, type):
        raise UserError(f"data.dataset={dataset.__name__}: expected an object, as Folder(...) is")
    wanted = ("num_classes", "class_names", "channels", "rank", "open")
    missing = [name for name in wanted if not hasattr(dataset, name)]
    if missing:
        raise UserError(
            f"data.dataset: {type(dataset).__name__} has no {', '.join(missing)}; a data set such "
            "as Folder(num_classes=2) has (docs/own_data.md)"
        )


def check_source(source: Any, dataset: Any) -> None:
    """Refuse what ``open`` gave if it is no `Source`."""
    missing = [name for name in ("__len__", "__getitem__") if not hasattr(source, name)]
    if missing:
        raise UserError(
            f"data.dataset: {type(dataset).__name__}.open() gives {type(source).__name__}, which "
            f"has no {', '.join(missing)} (docs/own_data.md)"
        )


def files_of(source: Any, index: int) -> tuple[str, ...]:
    """What an error about a case names: the source's files, else the source and the number."""
    if hasattr(source, "files"):
        return source.files(index)
    return (f"{type(source).__name__} case {index}",)
