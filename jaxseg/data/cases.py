"""Cases: what a source reads, prepared, checked, kept, and normalised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from jaxseg.data.cache import Disk, Memory, Nothing
from jaxseg.data.checks import check_case, check_finite, check_pixels, integral
from jaxseg.data.grid import Grid, Place, resampled
from jaxseg.data.images import read_spacing
from jaxseg.data.normalize import Normalize, Statistics
from jaxseg.data.protocols import Source, check_source, files_of
from jaxseg.data.sampling import foreground
from jaxseg.data.weight_map import WeightMap
from jaxseg.errors import UserError
from jaxseg.types import BATCH_FIELDS, IGNORE, Objects

OWN = ("name", "spacing")
"""What a source may give of a case beside the fields of a batch."""

GIVEN = tuple(name for name in BATCH_FIELDS if name not in ("valid", "streams"))
"""The fields of a batch that a case has; the other two are about the batch."""

Labels = Literal["needed", "optional", "hidden"]


@runtime_checkable
class Prepare(Protocol):
    """A transform of raw cases, before checks and cache: a frozen object.

    Its ``repr`` is part of the cache's key, so it is to say all that changes the result. It sees
    every case of every split once, and only those: `Data.image` and an exported artifact do not
    call it, so what changes the image itself is a `Normalize`.
    """

    def __call__(self, case: dict) -> dict:
        """The case as it is to be used; the one given is not written to."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How cases are read: what is done to each, and what is made of its whole image.

    ``points`` are pixels of the foreground, for patches centred on one. Of a ``grid``, images are
    brought to it and normalised when they are read; labels too, unless they are ``own``.
    """

    rank: int
    channels: int
    num_classes: int
    normalize: Normalize
    prepare: tuple[Prepare, ...] = ()
    points: bool = False
    weight_map: WeightMap | None = None
    labels: Labels = "needed"
    grid: Grid | None = None
    own: bool = False


@dataclass(frozen=True)
class Decoded:
    """A source behind checks and a cache: raw dtype, labels as small as the classes allow.

    Adds ``statistics``, as far as the normalisation needs some, ``points`` and ``weight
    [*spatial]``, as the reading says: they need the whole image, so they are made once a case and
    kept with it. ``spacing [rank]`` is the source's own, else that of a NIfTI's header. Of a grid,
    ``image`` is float32, normalised, and ``place`` says where it lies (`Place.array`). Raises
    UserError for a field that no batch has: it would be lost in silence.
    """

    source: Source
    reading: Reading
    cache: Any = Nothing()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict:
        if not isinstance(self.cache, Disk):
            return self.cache.fetch(str(index), lambda: self._decode(index))
        if not hasattr(self.source, "key"):  # nothing says when the case has changed
            return self._decode(index)
        key = f"v3 {self.reading} {self.source.key(index)}"  # pyright: ignore
        return self.cache.fetch(key, lambda: self._decode(index))

    def files(self, index: int) -> tuple[str, ...]:
        """What an error about a case names."""
        return files_of(self.source, index)

    def _decode(self, index: int) -> dict:
        how, files = self.reading, self.files(index)
        case = _fields(self.source[index], f"{files[0]}: the case")
        for prepare in how.prepare:
            case = _fields(prepare(case), f"{files[0]}: the case of data.prepare={prepare!r}")
        case: dict[str, Any] = {"name": files[0]} | self._labelled(case)
        check_case(
            case,
            rank=how.rank,
            channels=how.channels,
            num_classes=how.num_classes,
            files=files,
        )
        self._add_spacing(case, index)
        label = case.get("label")
        if label is not None and not isinstance(label, np.memmap):
            small = np.int8 if how.num_classes < 128 else np.int32
            case["label"] = integral(label, files[-1]).astype(small)
        if how.grid is not None:
            case = _brought(case, how, files)
        elif (statistics := how.normalize.statistics(case["image"])) is not None:
            case["statistics"] = statistics
        if how.points and label is not None:
            case["points"] = foreground(case["label"])
        if how.weight_map is not None and "weight" in case:
            raise UserError(
                f"{files[0]}: the case has weights of its own, which data.weight_map would "
                "replace; leave one of them out"
            )
        if how.weight_map is not None and label is not None:
            case["weight"] = how.weight_map(np.asarray(label), case.get("instance"))
        return case

    def _labelled(self, case: dict) -> dict:
        """The case with a label as the reading says; IGNORE where it has none and needs none."""
        how = self.reading.labels
        if how == "hidden":
            case = {name: x for name, x in case.items() if name in ("image", "domain", *OWN)}
        if "label" in case or how == "needed":
            return case
        size = np.shape(case["image"])[:-1]
        return case | {"label": np.full(size, IGNORE, np.int32)}

    def _add_spacing(self, case: dict, index: int) -> None:
        spacing = case.pop("spacing", None)
        if spacing is None:
            spacing = read_spacing(self.files(index)[0], rank=case["image"].ndim - 1)
        if spacing is not None:
            case["spacing"] = np.asarray(spacing, float)


@dataclass(frozen=True)
class Cases:
    """Whole cases, normalised: ``image`` float32, whole numbers int32, ``name``; ``raw`` the image
    as it is stored.

    ``spacing``, the millimetres between pixels along each axis, where the data set knows it. Of a
    grid, ``image`` and ``raw`` are the network's, ``label`` is in the case's own grid, and
    ``place`` says where the one lies in the other (`jaxseg.data.grid.Place`).
    """

    decoded: Decoded

    def __len__(self) -> int:
        return len(self.decoded)

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(index)
        raw = self.decoded[index]
        case = {"name": raw["name"], "raw": raw["image"]} | finish(
            raw, raw.get("statistics"), self.decoded, index
        )
        if "spacing" in raw:
            case["spacing"] = tuple(np.asarray(raw["spacing"]).tolist())
        if "place" in raw:
            case["place"] = Place.of(raw["place"])
        return case


def _fields(case: Any, what: str) -> dict:
    """A case of which every field has a place in a batch; ``what`` begins the error."""
    if not isinstance(case, Mapping):
        raise UserError(f"{what} is {type(case).__name__}; give a dict with an image")
    for name in case:
        if name not in (*OWN, *GIVEN):
            raise UserError(
                f"{what} has a field {name!r}, which no batch has; it may have "
                f"{', '.join((*OWN, *GIVEN))}"
            )
    if "image" not in case:
        raise UserError(f"{what} has no image; there is {', '.join(case) or 'nothing'}")
    return dict(case)


def finish(piece: dict, statistics: Statistics, decoded: Decoded, index: int) -> dict[str, Any]:
    """A raw case or patch of case ``index``, checked, in the dtypes of a batch by role."""
    how = decoded.reading
    mapped: dict[str, Any] = {
        name: value if isinstance(value, tuple) else np.asarray(value)
        for name, value in piece.items()
        if name in BATCH_FIELDS
    }
    files = decoded.files(index)
    check_pixels(mapped, num_classes=how.num_classes, files=files)
    for name, value in mapped.items():
        role = BATCH_FIELDS[name]
        if role == "image":
            known = how.grid is not None  # normalised before it was resampled
            mapped[name] = value if known else how.normalize(value, statistics)
        elif role == "classes":
            mapped[name] = integral(value, files[-1]).astype(np.int32)
        elif role == "factor":
            mapped[name] = value.astype(np.float32)
        elif role == "row" and value.dtype != bool:
            mapped[name] = value.astype(np.int32)
    return mapped


def padded(objects: Objects, count: int) -> Objects:
    """The objects of one image, ``[n ...]``, as ``count``: the largest, or filled up with none."""
    boxes = np.asarray(objects.boxes, np.float32).reshape(-1, 4)
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=-1)
    kept = np.sort(np.argsort(-area, kind="stable")[:count])
    empty = {"classes": IGNORE}

    def fit(name: str, value: Any) -> Any:
        if value is None:
            return None
        chosen = np.asarray(value)
        chosen = chosen.astype(np.float32 if chosen.dtype.kind == "f" else chosen.dtype)[kept]
        rest = [(0, count - len(chosen))] + [(0, 0)] * (chosen.ndim - 1)
        return np.pad(chosen, rest, constant_values=empty.get(name, 0))

    given = objects._replace(boxes=boxes, classes=np.asarray(objects.classes, np.int32))
    return Objects(**{name: fit(name, value) for name, value in given._asdict().items()})


def decoded(
    dataset: Any, root: str, split: str, *, reading: Reading, cache: Memory | Disk | Nothing
) -> Decoded:
    """Opens a split."""
    source = dataset.open(root, split)
    check_source(source, dataset)
    return Decoded(source, reading, cache)


def seen(
    raw: np.ndarray, spacing: Sequence[float] | None, reading: Reading, files: Sequence[str]
) -> tuple[np.ndarray, Place | None]:
    """One raw image as the network takes it, and where its grid lies in the image's, if elsewhere.

    The checks, the grid and the scaling of a case; ``files`` are for errors.
    """
    raw = np.asarray(raw)  # a memory map would escape the checks
    check_case(
        {"image": raw},
        rank=reading.rank,
        channels=reading.channels,
        num_classes=reading.num_classes,
        files=files,
    )
    if reading.grid is None:
        return reading.normalize(raw, reading.normalize.statistics(raw)), None
    return _gridded(raw, spacing, reading, files[0])


def _gridded(
    raw: np.ndarray, spacing: Sequence[float] | None, how: Reading, name: str
) -> tuple[np.ndarray, Place]:
    """An image cut, normalised by what is left, and resampled, as ``how.grid`` says."""
    assert how.grid is not None
    place = how.grid.place(raw, spacing, name)
    inside = np.asarray(raw[place.box])
    check_finite(inside, name)
    normalised = how.normalize(inside, how.normalize.statistics(inside))
    return how.grid.image(normalised, place), place


def _brought(case: dict, how: Reading, files: Sequence[str]) -> dict:
    """A checked case on the network's grid, but for labels that are to stay in their own."""
    assert how.grid is not None
    if "objects" in case:
        raise UserError(f"{files[0]}: has objects, whose boxes data.grid does not move")
    spacing = case.get("spacing")
    spacing = None if spacing is None else tuple(np.asarray(spacing).tolist())
    image, place = _gridded(case["image"], spacing, how, files[0])
    brought = case | {"image": image, "place": place.array()}
    for name, value in case.items():
        role = BATCH_FIELDS.get(name)
        if how.own or role not in ("classes", "factor"):
            continue
        inside = np.asarray(value[place.box])
        if name == "label":
            brought[name] = how.grid.label(inside, place)
        else:
            brought[name] = resampled(inside, place, role)
    return brought
