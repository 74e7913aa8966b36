"""Pure functions on maps ``[b *spatial c]``, each in the fastest form of its platform."""

from jaxseg.ops.activation import activate
from jaxseg.ops.attend import Weighing, attend, to_image, to_tokens
from jaxseg.ops.average_pool import adaptive_average_pool, average_pool
from jaxseg.ops.axes import Size, per_axis
from jaxseg.ops.fit import crop, crop_centre, pad_to_multiple
from jaxseg.ops.pool import max_pool
from jaxseg.ops.resize import enlarge, resize
from jaxseg.ops.shuffle import pixel_shuffle, pixel_unshuffle
from jaxseg.ops.unpool import max_pool_with_indices, max_unpool

__all__ = [
    "Size",
    "Weighing",
    "activate",
    "adaptive_average_pool",
    "attend",
    "average_pool",
    "crop",
    "crop_centre",
    "enlarge",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "pad_to_multiple",
    "per_axis",
    "pixel_shuffle",
    "pixel_unshuffle",
    "resize",
    "to_image",
    "to_tokens",
]
