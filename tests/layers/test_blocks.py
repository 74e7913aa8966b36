"""Each block gives PyTorch's numbers, forward and gradient (tests/golden/make_blocks.py)."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.layers.conv_lstm import ConvLSTM
from jaxseg.layers.dense import DenseBlock
from jaxseg.layers.residual import PreactivatedBlock, ResidualBlock
from jaxseg.layers.reversible import PreactivatedConv, ReversibleSequence
from jaxseg.models.inception_unet import HybridPool, InceptionBlock, spectral_pool
from jaxseg.models.multiresunet import MultiResBlock, ResPath
from jaxseg.models.r2unet import RecurrentConv
from jaxseg.models.refinenet import (
    ChainedResidualPooling,
    MultiResolutionFusion,
    ResidualConvUnit,
)

STORE = np.load(Path(__file__).parent.parent / "golden" / "blocks.npz")
INDEX = json.loads(str(STORE["index"]))
TRAINED = {
    "residual_basic_train": ResidualBlock(4),
    "residual_basic_eval": ResidualBlock(4),
    "residual_basic_stride": ResidualBlock(6, stride=2),
    "residual_bottleneck": ResidualBlock(8, kind="bottleneck"),
    "residual_bottleneck_stride_dilated": ResidualBlock(8, kind="bottleneck", stride=2, dilation=2),
    "residual_resnext": ResidualBlock(8, kind="bottleneck", width=6, groups=3),
    "residual_average": ResidualBlock(6, stride=2, shortcut="average"),
    "residual_3d": ResidualBlock(4, stride=2),
    "residual_pre_train": PreactivatedBlock(4),
    "residual_pre_eval": PreactivatedBlock(4),
    "residual_pre_conv": PreactivatedBlock(6, stride=2),
    "residual_pre_bottleneck": PreactivatedBlock(8, kind="bottleneck"),
    "residual_pre_preactivated": PreactivatedBlock(
        4, stride=2, shortcut="preactivated", activation="relu6"
    ),
    "residual_pre_pad": PreactivatedBlock(6, stride=2, shortcut="pad"),
    "dense": DenseBlock(3, 2, use_bias=True),
    "dense_eval": DenseBlock(2, 2, use_bias=True),
    "dense_bottleneck": DenseBlock(2, 2, bottleneck=4),
    "dense_3d": DenseBlock(2, 2, use_bias=True),
    "inception": InceptionBlock(4),
    "inception_residual": InceptionBlock(4, norm="batch", residual=True),
    "inception_3d": InceptionBlock(3),
    "multires": MultiResBlock(8),
    "multires_eval": MultiResBlock(8),
    "multires_3d": MultiResBlock(5),
    "res_path": ResPath(4, 2),
    "res_path_3d": ResPath(2, 1),
    "recurrent_shared": RecurrentConv(4),
    "recurrent_shared_eval": RecurrentConv(4),
    "recurrent_shared_3d": RecurrentConv(3, steps=1),
    "recurrent_separate": RecurrentConv(4, kernels="separate"),
    "recurrent_separate_plain": RecurrentConv(4, steps=3, kernels="separate", norm="none"),
    "reversible": ReversibleSequence(PreactivatedConv(groups=2), blocks=2),
    "reversible_3d": ReversibleSequence(PreactivatedConv()),
    "reversible_batch": ReversibleSequence(
        PreactivatedConv(norm="batch", activation="relu"), blocks=3
    ),
    "reversible_batch_eval": ReversibleSequence(
        PreactivatedConv(norm="batch", activation="relu"), blocks=2
    ),
}
PLAIN = {  # the same in training and evaluation: no argument `train`
    "hybrid_pool": HybridPool(2),
    "hybrid_pool_3d": HybridPool(2),
    "rcu": ResidualConvUnit(),
    "rcu_3d": ResidualConvUnit(),
    "mrf": MultiResolutionFusion(4),
    "mrf_3d": MultiResolutionFusion(2),
    "crp_pool_conv": ChainedResidualPooling(links=3),
    "crp_conv_pool": ChainedResidualPooling(links=3, order="conv_pool"),
    "crp_3d": ChainedResidualPooling(links=2),
    "lstm": ConvLSTM(3),
    "lstm_backward": ConvLSTM(3, direction="backward"),
    "lstm_both": ConvLSTM(1, kernel_size=5, direction="both", forget_bias=0.0),
    "lstm_peepholes": ConvLSTM(3, peepholes=True),
    "lstm_3d": ConvLSTM(2),
}
BLOCKS = TRAINED | PLAIN
# One of each kind: what does not depend on rank, mode or stride is tested on these.
KINDS = ["residual_bottleneck", "residual_pre_preactivated", "dense", "dense_bottleneck"]
KINDS += ["inception_residual", "multires", "res_path", "recurrent_shared", "recurrent_separate"]
KINDS += ["reversible", "hybrid_pool", "rcu", "mrf", "crp_pool_conv", "lstm_peepholes"]


def golden(case: str) -> dict:
    flat, start = {}, 0
    for key, shape in INDEX[case]:
        end = start + math.prod(shape)
        flat[tuple(key.split("/"))] = STORE[case][start:end].reshape(shape)
        start = end
    return unflatten_dict(flat)


def inputs(g: dict, prefix: str = "x"):
    """The block's input: an array, or the maps of a fusion."""
    several = [g[f"{prefix}{i}"] for i in range(9) if f"{prefix}{i}" in g]
    return tuple(jnp.asarray(a) for a in several) or jnp.asarray(g[prefix])


def apply(case: str, params, x, stats: dict):
    fields = {"train": not case.endswith("_eval")} if case in TRAINED else {}
    variables = {"params": params} | ({"batch_stats": stats} if stats else {})
    return BLOCKS[case].apply(variables, x, **fields, mutable=["batch_stats"])


def assert_close(ours, theirs) -> None:
    ours, theirs = flatten_dict({"": ours}), flatten_dict({"": theirs})
    assert ours.keys() == theirs.keys()
    for key, b in theirs.items():
        scale = max(1.0, float(abs(b).max()))
        np.testing.assert_allclose(
            np.asarray(ours[key]), b, rtol=0, atol=1e-5 * scale, err_msg=str(key)
        )


@pytest.mark.parametrize("case", BLOCKS)
def test_a_block_agrees_with_torch(case: str):
    g = golden(case)
    stats = g.get("stats", {})

    @jax.jit
    def both(params, x):
        y, back, new = jax.vjp(lambda p, x: apply(case, p, x, stats), params, x, has_aux=True)
        return y, *back(jnp.asarray(g["w"])), new

    y, dparams, dx, new = both(g["params"], inputs(g))
    assert_close(y, g["y"]), assert_close(dparams, g["dparams"])
    for ours, theirs in zip(jax.tree.leaves(dx), jax.tree.leaves(inputs(g, "dx")), strict=True):
        assert_close(ours, np.asarray(theirs))
    if "new_stats" in g:
        assert_close(new["batch_stats"], g["new_stats"])


@pytest.mark.parametrize("case", BLOCKS)
def test_a_block_makes_the_parameters_of_the_golden_files_from_the_rank_of_its_input(case: str):
    g = golden(case)
    fields = {"train": False} if case in TRAINED else {}
    made = jax.eval_shape(lambda x: BLOCKS[case].init(jax.random.key(0), x, **fields), inputs(g))
    shapes = jax.tree.map(lambda a: a.shape, made["params"])
    assert shapes == jax.tree.map(lambda a: a.shape, g["params"])
    assert {a.dtype for a in jax.tree.leaves(made)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("case", KINDS)
def test_a_block_computes_in_the_dtype_of_its_input_and_its_gradient_reaches_every_parameter(
    case: str,
):
    g = golden(case)
    stats = g.get("stats", {})
    x = jax.tree.map(lambda a: a.astype(jnp.bfloat16), inputs(g))

    @jax.jit
    def both(params, x):
        y, back, _ = jax.vjp(lambda p: apply(case, p, x, stats), params, has_aux=True)
        return y, back(jnp.asarray(g["w"], jnp.bfloat16))[0]

    y, gradients = both(g["params"], x)
    assert y.dtype == jnp.bfloat16
    off = np.linalg.norm(np.asarray(y, "f4") - g["y"]) / np.linalg.norm(g["y"])
    assert off < 5e-2
    assert all(bool(jnp.any(a != 0)) for a in jax.tree.leaves(gradients))


@pytest.mark.parametrize(("case", "size"), [("even", (4, 2)), ("odd", (5, 3))])
def test_spectral_pooling_agrees_with_torchs_fourier_transform(case: str, size):
    g = golden(f"spectral_pool_{case}")
    y, back = jax.vjp(jax.jit(lambda x: spectral_pool(x, size)), inputs(g))
    assert_close(y, g["y"]), assert_close(back(jnp.asarray(g["w"]))[0], g["dx"])


@pytest.mark.parametrize("case", KINDS)
def test_a_block_can_be_exported_for_any_size(case: str):
    g = golden(case)
    axes = ["h", "w", "d"] if case == "residual_pre_preactivated" else ["h", "w"]
    size = jax.export.symbolic_shape(
        ", ".join(f"2*{n}" for n in axes), constraints=[f"{n} >= 4" for n in axes]
    )
    fields = {"train": False} if case in TRAINED else {}
    variables = {"params": g["params"]} | ({"batch_stats": g["stats"]} if "stats" in g else {})

    def symbolic(x):
        return jax.ShapeDtypeStruct((*x.shape[: -len(size) - 1], *size, x.shape[-1]), x.dtype)

    exported = jax.export.export(jax.jit(lambda x: BLOCKS[case].apply(variables, x, **fields)))(
        jax.tree.map(symbolic, inputs(g))
    )
    assert exported.out_avals[0].ndim == g["y"].ndim
