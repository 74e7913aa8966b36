"""Data Science Bowl 2018, stage 1: nuclei in microscopy of many kinds.

Caicedo et al. 2019, https://doi.org/10.1038/s41592-019-0612-7, with the community's fixes of the
annotations. 664 images of 9 sizes, 28,986 nuclei.

The images hold near-duplicate fields of view, cut from the same plate and thus of one size and
background; an image-wise random split leaks them. Here whole groups of one size and background go
to one split, so validation and test are of sizes and stains that training has not seen. Numbers
are therefore below, and not comparable with, those of papers that split image by image.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxseg.data.source import Masks, Pair, Pairs, existing, unknown_split
from jaxseg.errors import UserError

HELD_OUT = {
    (360, 360, "dark"): "validation",
    (260, 347, "dark"): "validation",
    (520, 696, "dark"): "test",
    (512, 640, "dark"): "test",
    (1040, 1388, "dark"): "test",
    (1024, 1024, "bright"): "test",
}
"""Height, width, background -> split; every other group trains (451 / 93 / 120 images)."""


@dataclass(frozen=True)
class DSB2018:
    """Reads ``root/index.csv``, ``root/images/<id>.png`` and ``root/labels/<id>.png``.

    Classes: 0 background, 1 nucleus, and with ``boundary`` 2, the rim of each nucleus (what tells
    touching nuclei apart). In three ``channels`` grey is repeated, since a sixth is stained tissue
    in colour; in one, colours become luma. ``instances`` keeps the nuclei's numbers beside the
    label.

    ``background`` keeps the images of one kind: fluorescence is grey on a dark ground (541 images),
    stained tissue on a bright one (123, of which 16 grey). Of the bright ones alone there are two
    groups; every fifth image of that which trains validates, which leaks: see the test's for a
    number.
    """

    rank = 2

    boundary: bool = False
    instances: bool = False
    channels: Literal[1, 3] = 3
    background: Literal["dark", "bright"] | None = None

    @property
    def num_classes(self) -> int:
        """Two classes, or three with the rim."""
        return 3 if self.boundary else 2

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names by label."""
        return ("background", "nucleus", "rim")[: self.num_classes]

    def open(self, root: str, split: str) -> Pairs:
        """The cases of a split, whole (size, background) groups, in the order of the index."""
        folder = existing(root, "DSB2018")
        if split not in ("train", "validation", "test"):
            raise unknown_split(split, ("train", "validation", "test"), str(folder))
        rows = [row for row in _index(folder) if self.background in (None, row["background"])]
        splits = [_split(row) for row in rows]
        if self.background == "bright":
            among = [i for i, of in enumerate(splits) if of == "train"]
            splits = ["validation" if i in among[4::5] else of for i, of in enumerate(splits)]
        pairs = tuple(_pair(folder, r) for r, of in zip(rows, splits, strict=True) if of == split)
        if not pairs:
            raise UserError(f"{folder / 'index.csv'}: holds no image of the split {split!r}")
        masks = Masks(self.num_classes, instances=True, boundary=self.boundary)
        return Pairs(pairs, masks, self.channels, instances=self.instances)


def _index(folder: Path) -> list[dict[str, str]]:
    path = folder / "index.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; data.root must be DSB2018's folder")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {"id", "h", "w", "background"}
    if not rows or not columns <= set(rows[0]):
        raise UserError(f"{path}: needs the columns {', '.join(sorted(columns))}")
    return rows


def _split(row: dict[str, str]) -> str:
    return HELD_OUT.get((int(row["h"]), int(row["w"]), row["background"]), "train")


def _pair(folder: Path, row: dict[str, str]) -> Pair:
    image, label = (folder / kind / f"{row['id']}.png" for kind in ("images", "labels"))
    if not label.is_file():
        raise UserError(f"{image}: no mask {label}")
    return Pair(row["id"], str(image), str(label))
