"""Cases: what a source reads, checked, kept, and normalised."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from jaxseg.data.cache import Disk, Memory, Nothing
from jaxseg.data.checks import check_case, check_pixels
from jaxseg.data.images import read_spacing
from jaxseg.data.sampling import foreground, slabs
from jaxseg.data.source import Source
from jaxseg.data.weight_map import WeightMap

FULL_SCALE = {np.dtype(bool): 1.0, np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}

LABELS = ("label", "instance")
"""Arrays that become int32."""

KEPT = ("image", *LABELS, "weight")
"""Arrays of a case that go into a batch."""


def moments(image: Shaped[np.ndarray, "*spatial c"]) -> Float[np.ndarray, "2 c"]:
    """Mean and standard deviation of each channel, in float64, slab by slab.

    A constant channel has deviation 1 here, so that it normalises to 0.
    """
    channels = image.shape[-1]
    total, square = np.zeros(channels), np.zeros(channels)
    # about the first pixel: intensities far from 0 would cancel
    origin = np.asarray(image[(0,) * (image.ndim - 1)], np.float64)
    for _, slab in slabs(image):
        centred = np.asarray(slab, np.float64).reshape(-1, channels) - origin
        total += centred.sum(0)
        square += (centred**2).sum(0)
    count = image.size // channels
    mean = total / count
    deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
    return np.stack([mean + origin, np.where(deviation > 0, deviation, 1)])


def normalize(
    image: Shaped[np.ndarray, "*spatial c"], statistics: Float[np.ndarray, "2 c"] | None
) -> Float[np.ndarray, "*spatial c"]:
    """float32: by mean and deviation if given, else integers to [0, 1] and others as they are.

    Full scale is the dtype's (uint8 255, uint16 65535); other integers are not scaled.
    """
    if statistics is None:
        full = FULL_SCALE.get(image.dtype, 1.0)
        return np.divide(image, np.float32(full), dtype=np.float32)
    shape = (1,) * (image.ndim - 1) + (-1,)
    mean, deviation = (row.reshape(shape) for row in statistics)
    # float64 before the difference: large intensities with a small spread keep their digits
    return ((image - mean) / deviation).astype(np.float32)


@dataclass(frozen=True)
class Decoded:
    """A source behind checks and a cache: raw dtype, labels as small as the classes allow.

    Adds ``statistics [2 c]`` if ``zscore``, ``points`` (`sampling.foreground`) if ``points`` and
    ``weight [*spatial]`` of a ``weight_map``: they need the whole image, so they are made once a
    case and kept with it. ``spacing [rank]`` is the source's own, else that of a NIfTI's header.
    """

    source: Source
    num_classes: int
    channels: int
    zscore: bool
    points: bool
    cache: Any = Nothing()
    weight_map: WeightMap | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict:
        extras = ("v2", self.zscore, self.points, self.num_classes, self.weight_map)
        key = f"{extras} {self.source.key(index)}" if isinstance(self.cache, Disk) else str(index)
        return self.cache.fetch(key, lambda: self._decode(index))

    def _decode(self, index: int) -> dict:
        case = dict(self.source[index])
        check_case(
            case,
            channels=self.channels,
            num_classes=self.num_classes,
            files=self.source.files(index),
        )
        self._add_spacing(case, index)
        label = case.get("label")
        if label is not None and not isinstance(label, np.memmap) and self.num_classes < 128:
            case["label"] = label.astype(np.int8)
        if self.zscore:
            case["statistics"] = moments(case["image"])
        if self.points and label is not None:
            case["points"] = foreground(case["label"])
        if self.weight_map is not None and label is not None:
            case["weight"] = self.weight_map(np.asarray(label), case.get("instance"))
        return case

    def _add_spacing(self, case: dict, index: int) -> None:
        spacing = case.pop("spacing", None)
        if spacing is None:
            spacing = read_spacing(self.source.files(index)[0], rank=case["image"].ndim - 1)
        if spacing is not None:
            case["spacing"] = np.asarray(spacing, float)


@dataclass(frozen=True)
class Cases:
    """Whole cases, normalised: ``image`` float32, ``label`` and ``instance`` int32, ``name``.

    ``spacing``, the millimetres between pixels along each axis, where the data set knows it.
    """

    decoded: Decoded

    def __len__(self) -> int:
        return len(self.decoded)

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(index)
        raw = self.decoded[index]
        case = {"name": raw["name"]} | finish(raw, raw.get("statistics"), self.decoded, index)
        if "spacing" in raw:
            case["spacing"] = tuple(raw["spacing"].tolist())
        return case


def finish(
    piece: dict, statistics: Float[np.ndarray, "2 c"] | None, decoded: Decoded, index: int
) -> dict[str, np.ndarray]:
    """A raw case or patch of case ``index``, checked, as float32 image, int32 labels, weight."""
    mapped = {k: np.asarray(v) for k, v in piece.items() if k in KEPT}
    check_pixels(mapped, num_classes=decoded.num_classes, files=decoded.source.files(index))
    mapped["image"] = normalize(mapped["image"], statistics)
    return {k: v.astype(np.int32) if k in LABELS else v for k, v in mapped.items()}


def decoded(
    dataset: Any,
    root: str,
    split: str,
    *,
    zscore: bool,
    points: bool,
    cache: Memory | Disk | Nothing,
    weight_map: WeightMap | None = None,
) -> Decoded:
    """Opens a split."""
    source = dataset.open(root, split)
    known = (dataset.num_classes, dataset.channels)
    return Decoded(source, *known, zscore, points, cache, weight_map)
