"""Losses, one a file: ``(logits, label, *, valid=None, weights=None) -> [b]``, any spatial rank.

A loss is a frozen dataclass that configures a pure function. Averaging over the batch and the
weighted sum of terms belong to the recipe.
"""

from jaxseg.losses.cross_entropy import CrossEntropy
from jaxseg.losses.deep_supervision import DeepSupervision
from jaxseg.losses.dice import Dice
from jaxseg.losses.image_level import ImageLevel
from jaxseg.losses.loss import Loss

LOSSES: dict[str, type[Loss]] = {"cross_entropy": CrossEntropy, "dice": Dice}
"""The losses of pixels by name; `ImageLevel` takes logits of the image instead."""

__all__ = ["LOSSES", "CrossEntropy", "DeepSupervision", "Dice", "ImageLevel", "Loss"]
