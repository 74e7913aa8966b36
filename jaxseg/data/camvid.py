"""CamVid: road scenes from a driving car.

Brostow, Fauqueur, Cipolla 2009, https://doi.org/10.1016/j.patrec.2008.04.005, in the 11 classes,
360 x 480 pixels and split (367 / 101 / 233) of SegNet (https://arxiv.org/abs/1511.00561).

Void (11 in the files) is IGNORE: it neither trains nor counts in any score. Papers differ here:
counting void pixels as false positives costs ESPNet 1.5 points of mIoU on these very images. For
networks that have learnt void as a twelfth class there is ``CamVid(void="class")``, and
`metrics.VoidScore` to count by either convention.
"""

from dataclasses import dataclass
from typing import Literal

from jaxseg.data.images import list_images, stem
from jaxseg.data.source import Masks, Pair, Pairs, existing, unknown_split
from jaxseg.errors import UserError

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)


@dataclass(frozen=True)
class CamVid:
    """``root/train.txt`` (stems or paths) with ``root/train/*`` and ``root/trainannot/*.png``."""

    void: Literal["ignored", "class"] = "ignored"

    channels = 3
    rank = 2

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 11 classes; void after them where it is a class."""
        return CLASSES if self.void == "ignored" else (*CLASSES, "void")

    @property
    def num_classes(self) -> int:
        """11 or 12."""
        return len(self.class_names)

    def open(self, root: str, split: str) -> Pairs:
        """``train``, ``validation`` or ``test``, in the order of the split file."""
        folder = existing(root, "CamVid")
        if split not in FOLDERS:
            raise unknown_split(split, tuple(FOLDERS), str(folder))
        name = FOLDERS[split]
        listed = folder / f"{name}.txt"
        if not listed.is_file():
            raise UserError(f"{listed}: no such file; data.root must be CamVid's folder")
        images = {stem(path): path for path in list_images(folder / name)}
        masks = {stem(path): path for path in list_images(folder / f"{name}annot")}
        # SegNet's own lists hold "image mask" paths, other copies stems
        stems = [stem(line.split()[0]) for line in listed.read_text().splitlines() if line.split()]
        for wanted in stems:
            for known, where in ((images, name), (masks, f"{name}annot")):
                if wanted not in known:
                    raise UserError(f"{listed}: {wanted} is not in {folder / where}")
        pairs = tuple(Pair(s, str(images[s]), str(masks[s])) for s in stems)
        ignore = (len(CLASSES),) if self.void == "ignored" else ()
        return Pairs(pairs, Masks(self.num_classes, ignore=ignore), self.channels)
