"""Parts that two papers share; each computes in the dtype of its input, at any spatial rank."""

from jaxseg.layers.activation import Activation, activate
from jaxseg.layers.aspp import ASPP, SummedASPP
from jaxseg.layers.attend import Weighing, attend, to_image, to_tokens
from jaxseg.layers.attention_gate import AttentionGate
from jaxseg.layers.average_pool import adaptive_average_pool, average_pool
from jaxseg.layers.cbam import CBAM
from jaxseg.layers.conv import Conv, Size
from jaxseg.layers.conv_lstm import ConvLSTM
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.dense import DenseBlock
from jaxseg.layers.dense_atrous import DenseAtrous
from jaxseg.layers.dense_upsampling import DenseUpsampling
from jaxseg.layers.dropout import ChannelDropout, StochasticDepth
from jaxseg.layers.dual_attention import ChannelAttention, PositionAttention
from jaxseg.layers.expanding_path import ExpandingPath, Upsample
from jaxseg.layers.feature_pyramid_attention import FeaturePyramidAttention
from jaxseg.layers.fit import crop, crop_centre, pad_to_multiple
from jaxseg.layers.global_attention_upsample import GlobalAttentionUpsample
from jaxseg.layers.head import Head
from jaxseg.layers.hybrid_dilation import HybridDilation, check_rates, cycle_rates
from jaxseg.layers.inception import HybridPool, InceptionBlock, spectral_pool
from jaxseg.layers.inverted_residual import InvertedResidual
from jaxseg.layers.multires import MultiResBlock, ResPath, block_width
from jaxseg.layers.non_local import GlobalAggregation, NonLocal
from jaxseg.layers.norm import Kind, Norm
from jaxseg.layers.pool import max_pool
from jaxseg.layers.pyramid_pooling import PyramidPooling
from jaxseg.layers.recurrent_conv import RecurrentConv
from jaxseg.layers.refinement import ChainedResidualPooling, MultiResolutionFusion, ResidualConvUnit
from jaxseg.layers.residual import ResidualBlock
from jaxseg.layers.residual_multi_kernel_pooling import ResidualMultiKernelPooling
from jaxseg.layers.resize import enlarge, resize
from jaxseg.layers.reversible import PreactivatedConv, ReversibleSequence
from jaxseg.layers.separable import SeparableConv
from jaxseg.layers.shuffle import pixel_shuffle, pixel_unshuffle
from jaxseg.layers.spatial_reduction import SpatialReductionAttention
from jaxseg.layers.squeeze_excitation import (
    ConcurrentExcitation,
    SpatialExcitation,
    SqueezeExcitation,
)
from jaxseg.layers.transposed import TransposedConv
from jaxseg.layers.unpool import max_pool_with_indices, max_unpool

__all__ = [
    "ASPP",
    "Activation",
    "AttentionGate",
    "CBAM",
    "ChainedResidualPooling",
    "ChannelAttention",
    "ChannelDropout",
    "ConcurrentExcitation",
    "Conv",
    "ConvLSTM",
    "ConvNorm",
    "DenseAtrous",
    "DenseBlock",
    "DenseUpsampling",
    "ExpandingPath",
    "FeaturePyramidAttention",
    "GlobalAggregation",
    "GlobalAttentionUpsample",
    "Head",
    "HybridDilation",
    "HybridPool",
    "InceptionBlock",
    "InvertedResidual",
    "Kind",
    "MultiResBlock",
    "MultiResolutionFusion",
    "NonLocal",
    "Norm",
    "PositionAttention",
    "PreactivatedConv",
    "PyramidPooling",
    "RecurrentConv",
    "ResPath",
    "ResidualBlock",
    "ResidualConvUnit",
    "ResidualMultiKernelPooling",
    "ReversibleSequence",
    "SeparableConv",
    "Size",
    "SpatialExcitation",
    "SpatialReductionAttention",
    "SqueezeExcitation",
    "StochasticDepth",
    "SummedASPP",
    "TransposedConv",
    "Upsample",
    "Weighing",
    "activate",
    "adaptive_average_pool",
    "attend",
    "average_pool",
    "block_width",
    "check_rates",
    "crop",
    "crop_centre",
    "cycle_rates",
    "enlarge",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "pad_to_multiple",
    "pixel_shuffle",
    "pixel_unshuffle",
    "resize",
    "spectral_pool",
    "to_image",
    "to_tokens",
]
