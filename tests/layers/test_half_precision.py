"""Gradients of parameters in bfloat16, for every layer that has any.

Each is a sum over thousands of pixels or rows; a sum that is kept in bfloat16 stands still at 256
times what is added. Inputs of mean 1 show it.

Blocks are taken without their norms, which stand here by themselves and beside one convolution: a
norm takes the mean out of a gradient, and what is left of it depends by several percent on the
ReLUs that change sides with the rounding of their inputs.
"""

import importlib
import inspect
import pkgutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

import jaxseg.layers
from jaxseg.layers import (
    ASPP,
    AttentionGate,
    ChannelAttention,
    ConcurrentExcitation,
    Conv,
    ConvLSTM,
    ConvNorm,
    DenseBlock,
    ExpandingPath,
    Head,
    InvertedResidual,
    NonLocal,
    Norm,
    PositionAttention,
    PreactivatedBlock,
    PyramidPooling,
    ResidualBlock,
    SeparableConv,
    SqueezeExcitation,
    TransposedConv,
)
from jaxseg.layers.adn import ADN, ConvADN
from jaxseg.layers.aspp import SummedASPP
from jaxseg.layers.cbam import CBAM
from jaxseg.layers.dense_prediction_cell import DensePredictionCell
from jaxseg.layers.reversible import PreactivatedConv, ReversibleSequence
from jaxseg.layers.spatial_reduction import SpatialReductionAttention
from jaxseg.layers.squeeze_excitation import SpatialExcitation
from jaxseg.layers.window_attention import WindowAttention
from jaxseg.models.hdc_duc import DenseUpsampling, HybridDilation
from jaxseg.models.inception_unet import HybridPool, InceptionBlock
from jaxseg.models.multiresunet import MultiResBlock, ResPath
from jaxseg.models.nonlocal_unet import GlobalAggregation
from jaxseg.models.r2unet import RecurrentConv

FULL, HALF, QUARTER = (2, 64, 64, 8), (2, 32, 32, 8), (2, 16, 16, 8)
LAYERS = {
    "conv": Conv(4),
    "conv_stride": Conv(4, stride=2),
    "conv_dilated": Conv(4, dilation=2),
    "conv_wide": Conv(40),
    "conv_1x1": Conv(4, kernel_size=1),
    "adn": ADN("none"),
    "monai_conv": ConvADN(4, after=ADN("none")),
    "conv_depthwise": Conv(8, groups=8),
    "conv_depthwise_twice": Conv(16, groups=8, stride=2),
    "conv_grouped": Conv(8, groups=2),
    "conv_prelu": ConvNorm(4, activation="prelu"),
    "conv_norm": ConvNorm(4),
    "conv_no_norm": ConvNorm(4, norm="none", activation="prelu_shared"),
    "transposed": TransposedConv(4),
    "transposed_overlap": TransposedConv(4, kernel_size=4, padding=1),
    "transposed_grouped": TransposedConv(4, groups=2),
    "head": Head(4),
    "head_3x3": Head(4, kernel_size=3),
    "norm_batch": Norm(),
    "norm_group": Norm("group", groups=2),
    "norm_instance": Norm("instance"),
    "separable": SeparableConv(4, norm="none"),
    "inverted": InvertedResidual(8, 16, squeeze=SqueezeExcitation(4), norm="none"),
    "residual": ResidualBlock(4, stride=2, norm="none"),
    "preactivated": PreactivatedBlock(4, stride=2, norm="none"),
    "dense": DenseBlock(2, 4, norm="none"),
    "aspp": ASPP(4, rates=(2, 6), dropout=0.0, norm="none"),
    "dense_prediction_cell": DensePredictionCell(4, dropout=0.0, norm="none"),
    "summed_aspp": SummedASPP(4, rates=(2, 6), dropout=0.0),
    "pyramid_pooling": PyramidPooling(4),
    "pyramid_pooling_max": PyramidPooling(4, pool="max"),
    "attention_gate": AttentionGate(norm="none"),
    "attention_gate_community": AttentionGate(form="community", norm="none"),
    "squeeze": SqueezeExcitation(2),
    "spatial": SpatialExcitation(),
    "concurrent": ConcurrentExcitation(),
    "cbam": CBAM(4),
    "position": PositionAttention(),
    "channel": ChannelAttention(),
    "non_local": NonLocal(norm="none"),
    "non_local_dot": NonLocal(pairing="dot_product", norm="none"),
    "global_aggregation": GlobalAggregation(4, size="down"),
    "spatial_reduction": SpatialReductionAttention(2, reduction=4),
    "window_attention": WindowAttention(2, 4, shifted=True),
    "lstm": ConvLSTM(4, peepholes=True),
    "dense_upsampling": DenseUpsampling(4, factor=2),
    "hybrid_dilation": HybridDilation(4, norm="none"),
    "inception": InceptionBlock(4),
    "hybrid_pool": HybridPool(),
    "multires": MultiResBlock(8),
    "res_path": ResPath(4, 2),
    "recurrent": RecurrentConv(8, norm="none"),
    "preactivated_conv": PreactivatedConv(groups=2),
    "reversible": ReversibleSequence(PreactivatedConv(groups=2)),
    "expanding": ExpandingPath((1, 2, 4), norm="none"),
    "expanding_nearest": ExpandingPath((1, 2, 4), norm="none", upsample="nearest"),
    "expanding_bilinear": ExpandingPath((1, 2, 4), norm="none", upsample="bilinear"),
}
WHOLE = {"multires", "res_path", "dense_prediction_cell"}
"""Blocks whose norms cannot be left out, or of six convolutions in a row: all of their gradient is
one number."""

WITH_FORMS = [name for name in LAYERS if name.startswith(("conv", "transposed", "head", "norm_"))]
WITH_FORMS += ["inverted", "pyramid_pooling", "attention_gate", "concurrent", "cbam", "channel"]
WITH_FORMS += ["hybrid_pool", "expanding_nearest", "expanding_bilinear"]
"""Layers that have other forms on other platforms."""

WITH_A_THIRD_FORM = [name for name in WITH_FORMS if name.startswith(("conv", "head"))]
WITH_A_THIRD_FORM += ["pyramid_pooling_max", "hybrid_pool"]
"""Those of convolutions and of maxima: all others have the GPU's form on a TPU too."""

SHAPES = {
    "attention_gate": (FULL, HALF),
    "attention_gate_community": (FULL, FULL),
    "lstm": ((1, 3, *FULL[1:]),),
}
SEQUENCES = {
    **dict.fromkeys(
        ("expanding", "expanding_nearest", "expanding_bilinear"), (FULL, HALF, QUARTER)
    ),
}


def test_no_layer_is_left_out():
    found = set()
    for module in pkgutil.iter_modules(jaxseg.layers.__path__):
        for name, value in vars(importlib.import_module(f"jaxseg.layers.{module.name}")).items():
            if inspect.isclass(value) and issubclass(value, nn.Module) and name[0] != "_":
                found.add(value)
    without = {"ChannelDropout", "StochasticDepth", "CRFRNN"}  # its logits are float32 always
    tested = {type(layer).__name__ for layer in LAYERS.values()}  # blocks of one paper among them
    assert {kind.__name__ for kind in found} - without <= tested


def rounded(seed: int, shape: tuple[int, ...]):
    """Noise of mean 1 that both dtypes can hold."""
    x = 1 + jax.random.normal(jax.random.key(seed), shape)
    return x.astype("bfloat16").astype("float32")


def gradients(name: str):
    """Of each parameter, in float32 and in bfloat16, from the same numbers."""
    module, shapes = LAYERS[name], SHAPES.get(name, (FULL,))
    given = tuple(rounded(i, shape) for i, shape in enumerate(SEQUENCES.get(name, shapes)))
    given = (given,) if name in SEQUENCES else given
    how = {"train": True} if "train" in inspect.signature(type(module).__call__).parameters else {}
    variables = dict(jax.jit(lambda: module.init(jax.random.key(9), *given, **how))())
    params = variables.pop("params")
    noise = jax.random.normal(jax.random.key(10), (1000,))
    params = jax.tree.map(  # none is zero
        lambda a: (a + 0.1 * jnp.resize(noise, a.shape)).astype("bfloat16").astype("float32"),
        params,
    )

    def apply(params, given):
        y = module.apply({**variables, "params": params}, *given, **how, mutable=list(variables))
        return y[0]

    above = jax.tree.map(lambda a: rounded(11, a.shape), jax.eval_shape(apply, params, given))

    @jax.jit
    def gradient(params, given, above):
        y, back = jax.vjp(lambda params: apply(params, given), params)
        return back(jax.tree.map(lambda a, y: a.astype(y.dtype), above, y))[0]

    narrow = jax.tree.map(lambda a: a.astype("bfloat16"), given)
    return [
        traverse_util.flatten_dict(gradient(params, g, above), sep="/") for g in (given, narrow)
    ]


def check(name: str) -> None:
    wide, narrow = gradients(name)
    assert all(a.dtype == jnp.float32 for a in narrow.values())
    size = {key: np.linalg.norm(value) for key, value in wide.items()}
    whole, off = np.linalg.norm(list(size.values())), {}
    for key in wide:
        # some are zero but for rounding: keys' biases, which a softmax does not see
        against = size[key] if size[key] > 1e-3 * whole else whole
        off[key] = float(np.linalg.norm(narrow[key] - wide[key]) / against)
    if name in WHOLE:
        differences = [np.linalg.norm(narrow[key] - wide[key]) for key in wide]
        off = {"whole": float(np.linalg.norm(differences) / whole)}
    assert max(off.values()) < 0.02, off


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_parameters_are_those_of_float32(name: str):
    check(name)


@pytest.mark.parametrize("platform", ["cuda"], indirect=True)
@pytest.mark.parametrize("name", WITH_FORMS)
def test_so_are_those_of_the_forms_of_a_gpu(name: str, platform: str):
    check(name)


@pytest.mark.parametrize("platform", ["other"], indirect=True)
@pytest.mark.parametrize("name", WITH_A_THIRD_FORM)
def test_so_are_those_of_the_forms_of_other_platforms(name: str, platform: str):
    check(name)
