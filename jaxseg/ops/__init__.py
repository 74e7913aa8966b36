"""Pure functions that layers are made of, each in the fastest form of the platform it runs on.

Images are ``[b *spatial c]`` at any spatial rank; sums of half precision are float32.
"""

from jaxseg.ops.activation import activate, prelu
from jaxseg.ops.attend import Weighing, attend, received, to_image, to_tokens
from jaxseg.ops.average_pool import adaptive_average_pool, average_pool
from jaxseg.ops.axes import Size, per_axis, product
from jaxseg.ops.convolve import How, convolve
from jaxseg.ops.fit import crop, crop_centre, pad_to_least, pad_to_multiple
from jaxseg.ops.greatest import greatest
from jaxseg.ops.local_response import local_response
from jaxseg.ops.normalise import normalise
from jaxseg.ops.pool import max_pool
from jaxseg.ops.regrid import Regrid, regridded_labels, regridded_logits
from jaxseg.ops.resample import resample
from jaxseg.ops.resize import enlarge, resize
from jaxseg.ops.shuffle import pixel_shuffle, pixel_unshuffle
from jaxseg.ops.spread import along_channels, mean_over_space, spread
from jaxseg.ops.unpool import max_pool_with_indices, max_unpool

__all__ = [
    "How",
    "Regrid",
    "Size",
    "Weighing",
    "activate",
    "adaptive_average_pool",
    "along_channels",
    "attend",
    "average_pool",
    "convolve",
    "crop",
    "crop_centre",
    "enlarge",
    "greatest",
    "local_response",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "mean_over_space",
    "normalise",
    "pad_to_least",
    "pad_to_multiple",
    "per_axis",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "product",
    "received",
    "regridded_labels",
    "regridded_logits",
    "resample",
    "resize",
    "spread",
    "to_image",
    "to_tokens",
]
