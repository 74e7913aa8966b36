"""Losses, one a file: ``(logits, label, *, valid=None, weights=None) -> [b]``, any spatial rank.

A loss is a frozen dataclass that configures a pure function; its fields have to be named.
Averaging over the batch and the weighted sum of terms belong to the recipe; a `Ramp` changes a
term's weight by the step.
"""

from jaxseg.losses.boundary import Boundary
from jaxseg.losses.cl_dice import ClDice
from jaxseg.losses.combo import Combo
from jaxseg.losses.cross_entropy import CrossEntropy
from jaxseg.losses.deep_supervision import DeepSupervision
from jaxseg.losses.dice import Dice
from jaxseg.losses.distance_penalized import DistancePenalized
from jaxseg.losses.exponential_logarithmic import ExponentialLogarithmic
from jaxseg.losses.focal import Focal
from jaxseg.losses.focal_tversky import FocalTversky
from jaxseg.losses.generalized_dice import GeneralizedDice
from jaxseg.losses.hausdorff import Hausdorff
from jaxseg.losses.hybrid import Hybrid
from jaxseg.losses.image_level import ImageLevel
from jaxseg.losses.jaccard import Jaccard
from jaxseg.losses.loss import Label, Logits, Loss, PerExample, Valid, Weights
from jaxseg.losses.lovasz import LovaszHinge, LovaszSoftmax
from jaxseg.losses.matthews import Matthews
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.sensitivity_specificity import SensitivitySpecificity
from jaxseg.losses.top_k import TopK
from jaxseg.losses.tversky import Tversky
from jaxseg.losses.unified_focal import UnifiedFocal
from jaxseg.losses.wasserstein_dice import WassersteinDice

LOSSES: dict[str, type[Loss]] = {
    "boundary": Boundary,
    "cl_dice": ClDice,
    "combo": Combo,
    "cross_entropy": CrossEntropy,
    "dice": Dice,
    "distance_penalized": DistancePenalized,
    "exponential_logarithmic": ExponentialLogarithmic,
    "focal": Focal,
    "focal_tversky": FocalTversky,
    "generalized_dice": GeneralizedDice,
    "hausdorff": Hausdorff,
    "hybrid": Hybrid,
    "jaccard": Jaccard,
    "lovasz_hinge": LovaszHinge,
    "lovasz_softmax": LovaszSoftmax,
    "matthews": Matthews,
    "sensitivity_specificity": SensitivitySpecificity,
    "top_k": TopK,
    "tversky": Tversky,
    "unified_focal": UnifiedFocal,
    "wasserstein_dice": WassersteinDice,
}
"""The losses of pixels by name; `ImageLevel` takes logits of the image instead."""

__all__ = [
    "LOSSES",
    "Boundary",
    "ClDice",
    "Combo",
    "CrossEntropy",
    "DeepSupervision",
    "Dice",
    "DistancePenalized",
    "ExponentialLogarithmic",
    "Focal",
    "FocalTversky",
    "GeneralizedDice",
    "Hausdorff",
    "Hybrid",
    "ImageLevel",
    "Jaccard",
    "Label",
    "Logits",
    "Loss",
    "LovaszHinge",
    "LovaszSoftmax",
    "Matthews",
    "PerExample",
    "Ramp",
    "SensitivitySpecificity",
    "TopK",
    "Tversky",
    "UnifiedFocal",
    "Valid",
    "WassersteinDice",
    "Weights",
]
