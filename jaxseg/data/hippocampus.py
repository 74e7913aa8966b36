"""Medical Segmentation Decathlon, task 4: hippocampus in magnetic resonance.

Antonelli et al. 2022, https://doi.org/10.1038/s41467-022-30695-9. 260 volumes of about
36 x 50 x 35 voxels, 1 mm isotropic (distances between surfaces are in mm, by the headers), in the
five folds of nnU-Net.

Intensities differ by four orders of magnitude between cases: use ``normalize=ZScore()``.
"""

import json
from dataclasses import dataclass

from jaxseg.data.images import list_images, stem
from jaxseg.data.source import Masks, Pair, Pairs, existing, unknown_split
from jaxseg.errors import UserError


@dataclass(frozen=True)
class Hippocampus:
    """Classes: 0 background, 1 anterior, 2 posterior. ``fold`` 0-4 is the one that validates.

    Reads ``root/images/*.nii.gz``, ``root/labels/*.nii.gz`` and ``splits_nnunet_5fold.json``. The
    task's test labels are hidden: there is no test split.
    """

    num_classes = 3
    class_names = ("background", "anterior", "posterior")
    channels = 1
    rank = 3

    fold: int = 0

    def open(self, root: str, split: str) -> Pairs:
        """``train`` (208 volumes) or ``validation`` (52) of the fold."""
        folder = existing(root, "the hippocampus data")
        if split not in ("train", "validation"):
            raise unknown_split(split, ("train", "validation"), str(folder))
        path = folder / "splits_nnunet_5fold.json"
        if not path.is_file():
            raise UserError(f"{path}: no such file; data.root must be the hippocampus folder")
        folds = json.loads(path.read_text())
        if not 0 <= self.fold < len(folds):
            raise UserError(f"data.dataset.fold={self.fold}: {path} holds folds 0-{len(folds) - 1}")
        twice = set(folds[self.fold]["train"]) & set(folds[self.fold]["val"])
        if twice:
            raise UserError(f"{path}: fold {self.fold} trains and validates on {min(twice)}")
        names = folds[self.fold]["train" if split == "train" else "val"]
        images = {stem(p): p for p in list_images(folder / "images")}
        labels = {stem(p): p for p in list_images(folder / "labels")}
        missing = [n for n in names if n not in images or n not in labels]
        if missing:
            raise UserError(f"{path}: {missing[0]} is not in both images and labels")
        pairs = tuple(Pair(n, str(images[n]), str(labels[n])) for n in names)
        return Pairs(pairs, Masks(self.num_classes, ignore=()), self.channels, self.rank)
