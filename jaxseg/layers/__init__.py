"""Parts that two papers share; each computes in the dtype of its input, at any spatial rank."""

from jaxseg.layers.activation import Activation, activate
from jaxseg.layers.conv import Conv, Size
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.expanding_path import ExpandingPath, Upsample
from jaxseg.layers.fit import crop, crop_centre, pad_to_multiple
from jaxseg.layers.norm import Kind, Norm
from jaxseg.layers.pool import max_pool
from jaxseg.layers.resize import enlarge, resize
from jaxseg.layers.transposed import TransposedConv

__all__ = [
    "Activation",
    "Conv",
    "ConvNorm",
    "ExpandingPath",
    "Kind",
    "Norm",
    "Size",
    "TransposedConv",
    "Upsample",
    "activate",
    "crop",
    "crop_centre",
    "enlarge",
    "max_pool",
    "pad_to_multiple",
    "resize",
]
