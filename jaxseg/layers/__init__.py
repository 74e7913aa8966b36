"""Parts that two papers share; each computes in the dtype of its input, at any spatial rank.

A block of one paper is imported from its own file, a function without parameters from ``ops``.
"""

from jaxseg.layers.activation import Activation
from jaxseg.layers.adn import ADN, ConvADN
from jaxseg.layers.aspp import ASPP
from jaxseg.layers.attention_gate import AttentionGate
from jaxseg.layers.cbam import CBAM
from jaxseg.layers.conv import Conv
from jaxseg.layers.conv_lstm import ConvLSTM
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.dense import DenseBlock
from jaxseg.layers.dropout import ChannelDropout, StochasticDepth
from jaxseg.layers.dual_attention import ChannelAttention, PositionAttention
from jaxseg.layers.expanding_path import ExpandingPath, Upsample
from jaxseg.layers.head import Head
from jaxseg.layers.inverted_residual import InvertedResidual
from jaxseg.layers.non_local import NonLocal
from jaxseg.layers.norm import Kind, Norm, Statistics
from jaxseg.layers.pyramid_pooling import PyramidPooling
from jaxseg.layers.residual import PreactivatedBlock, ResidualBlock
from jaxseg.layers.separable import SeparableConv
from jaxseg.layers.squeeze_excitation import (
    ConcurrentExcitation,
    SpatialExcitation,
    SqueezeExcitation,
)
from jaxseg.layers.transposed import TransposedConv
from jaxseg.ops import Size

__all__ = [
    "ADN",
    "ASPP",
    "CBAM",
    "Activation",
    "AttentionGate",
    "ChannelAttention",
    "ChannelDropout",
    "ConcurrentExcitation",
    "Conv",
    "ConvADN",
    "ConvLSTM",
    "ConvNorm",
    "DenseBlock",
    "ExpandingPath",
    "Head",
    "InvertedResidual",
    "Kind",
    "NonLocal",
    "Norm",
    "PositionAttention",
    "PreactivatedBlock",
    "PyramidPooling",
    "ResidualBlock",
    "SeparableConv",
    "Size",
    "SpatialExcitation",
    "SqueezeExcitation",
    "Statistics",
    "StochasticDepth",
    "TransposedConv",
    "Upsample",
]
