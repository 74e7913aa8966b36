"""Metrics: pure functions of one case, and counts over cases.

What counts over cases is a frozen dataclass with ``zero``, ``of``, ``+`` to merge, and scores as
methods. ``Confusion`` and ``Calibration`` count on the device; all others compute on the host.
"""

from jaxseg.metrics.bootstrap import bootstrap, bootstrap_interval
from jaxseg.metrics.boundary import boundary_iou
from jaxseg.metrics.calibration import Calibration
from jaxseg.metrics.cases import Case, LeavesOut, NamedScore
from jaxseg.metrics.centerline import centerline_dice
from jaxseg.metrics.coco import Found, Truth, coco_scores, require_pycocotools
from jaxseg.metrics.confusion import MORE, SCORES, Confusion, mean
from jaxseg.metrics.contingency import Contingency
from jaxseg.metrics.evaluated import Evaluated
from jaxseg.metrics.instance import Matches, Panoptic, aggregated_jaccard
from jaxseg.metrics.named import CASE_SCORES, name_of, needs_of, scores_of
from jaxseg.metrics.object_maps import ObjectMaps, painted
from jaxseg.metrics.partition import (
    adapted_rand_error,
    foreground_information,
    foreground_rand,
    pixel_error,
    thinned,
    variation_of_information,
)
from jaxseg.metrics.surface import (
    Surfaces,
    average_distance,
    hausdorff,
    surface_dice,
    surfaces,
)
from jaxseg.metrics.void import VoidScore

__all__ = [
    "CASE_SCORES",
    "MORE",
    "SCORES",
    "Calibration",
    "Case",
    "Confusion",
    "Contingency",
    "Evaluated",
    "Found",
    "LeavesOut",
    "Matches",
    "NamedScore",
    "ObjectMaps",
    "Panoptic",
    "Surfaces",
    "Truth",
    "VoidScore",
    "adapted_rand_error",
    "aggregated_jaccard",
    "average_distance",
    "bootstrap",
    "bootstrap_interval",
    "boundary_iou",
    "centerline_dice",
    "coco_scores",
    "foreground_information",
    "foreground_rand",
    "hausdorff",
    "mean",
    "name_of",
    "needs_of",
    "painted",
    "pixel_error",
    "require_pycocotools",
    "scores_of",
    "surface_dice",
    "surfaces",
    "thinned",
    "variation_of_information",
]
