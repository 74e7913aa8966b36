"""Metrics: pure functions of one case, and counts over cases.

What counts over cases is a frozen dataclass with ``zero``, ``of``, ``+`` to merge, and scores as
methods. ``Confusion`` and ``Calibration`` count on the device; all others compute on the host.
"""

from jaxseg.metrics.bootstrap import bootstrap_interval
from jaxseg.metrics.boundary import boundary_iou
from jaxseg.metrics.calibration import Calibration
from jaxseg.metrics.cases import CASE_SCORES, case_scores
from jaxseg.metrics.centerline import centerline_dice
from jaxseg.metrics.coco import Found, Truth, coco_scores
from jaxseg.metrics.confusion import SCORES, Confusion, mean
from jaxseg.metrics.contingency import Contingency
from jaxseg.metrics.instance import Matches, Panoptic, aggregated_jaccard
from jaxseg.metrics.partition import (
    adapted_rand_error,
    foreground_information,
    foreground_rand,
    pixel_error,
    variation_of_information,
)
from jaxseg.metrics.surface import average_distance, hausdorff, surface_dice

__all__ = [
    "CASE_SCORES",
    "SCORES",
    "Calibration",
    "Confusion",
    "Contingency",
    "Found",
    "Matches",
    "Panoptic",
    "Truth",
    "adapted_rand_error",
    "aggregated_jaccard",
    "average_distance",
    "bootstrap_interval",
    "boundary_iou",
    "case_scores",
    "centerline_dice",
    "coco_scores",
    "foreground_information",
    "foreground_rand",
    "hausdorff",
    "mean",
    "pixel_error",
    "surface_dice",
    "variation_of_information",
]
