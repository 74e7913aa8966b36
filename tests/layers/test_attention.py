"""What all attention layers share: PyTorch's numbers (tests/golden/make_attention.py), and more."""

import inspect
import json
import math
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import NamedSharding, PartitionSpec

from jaxseg.layers.attention_gate import AttentionGate
from jaxseg.layers.cbam import CBAM
from jaxseg.layers.dual_attention import ChannelAttention, PositionAttention
from jaxseg.layers.inverted_residual import InvertedResidual
from jaxseg.layers.non_local import NonLocal
from jaxseg.layers.spatial_reduction import SpatialReductionAttention
from jaxseg.layers.squeeze_excitation import (
    ConcurrentExcitation,
    SpatialExcitation,
    SqueezeExcitation,
)
from jaxseg.models.nonlocal_unet import GlobalAggregation

MOBILE_SE = SqueezeExcitation(width=3, gate="hard_sigmoid")
V3 = InvertedResidual(
    6, 8, 5, stride=2, activation="hard_swish", squeeze=MOBILE_SE, epsilon=1e-3, momentum=0.99
)
EFFICIENT_SE = SqueezeExcitation(width=2, activation="silu")
GOLDEN = {
    "se_2d": SqueezeExcitation(2),
    "se_3d": SqueezeExcitation(2),
    "se_mobilenet": MOBILE_SE,
    "se_efficientnet": EFFICIENT_SE,
    "sse_2d": SpatialExcitation(),
    "sse_3d": SpatialExcitation(),
    "scse_max_2d": ConcurrentExcitation("max"),
    "scse_add_2d": ConcurrentExcitation("add", 4),
    "scse_max_3d": ConcurrentExcitation("max"),
    "cbam_train": CBAM(4),
    "cbam_eval": CBAM(4),
    "cbam_paper": CBAM(4, norm="none"),
    "cbam_3d_train": CBAM(2, kernel_size=3),
    "gate_paper_train": AttentionGate(),
    "gate_paper_eval": AttentionGate(),
    "gate_paper_3d": AttentionGate(3),
    "gate_community_train": AttentionGate(form="community"),
    "gate_community_eval": AttentionGate(form="community"),
    "gate_community_3d": AttentionGate(3, form="community"),
    "position_2d": PositionAttention(),
    "position_3d": PositionAttention(4),
    **{f"channel_{form}_{d}": ChannelAttention(form) for form in ("released", "paper")
       for d in ("2d", "3d")},
    **{f"nonlocal_gaussian_{mode}": NonLocal() for mode in ("train", "eval")},
    **{f"nonlocal_dot_{mode}": NonLocal(pairing="dot_product") for mode in ("train", "eval")},
    "nonlocal_gce": NonLocal(8, scaled=True, pool=2, norm="group"),
    "nonlocal_3d": NonLocal(pool=2, norm="none"),
    "nonlocal_dot_3d": NonLocal(pairing="dot_product", norm="none"),
    **{f"aggregation_{size}_2d": GlobalAggregation(5, size, heads=2, width=4)
       for size in ("same", "down", "up")},
    **{f"aggregation_{size}_3d": GlobalAggregation(3, size, width=4)
       for size in ("same", "down", "up")},
    "reduction_1": SpatialReductionAttention(2),
    "reduction_2": SpatialReductionAttention(2, 2),
    "reduction_4": SpatialReductionAttention(1, 4),
    "reduction_3d": SpatialReductionAttention(2, 2),
    **{f"inverted_v2_{mode}": InvertedResidual(4, 12) for mode in ("train", "eval")},
    **{f"inverted_v3_{mode}": V3 for mode in ("train", "eval")},
    "inverted_efficientnet": InvertedResidual(6, 6, activation="silu", squeeze=EFFICIENT_SE),
    "inverted_dilated": InvertedResidual(4, 8, dilation=2),
    "inverted_3d": InvertedResidual(5, 8, stride=2),
}  # fmt: skip
ONE_OF_EACH = [
    "se_2d", "scse_max_2d", "cbam_eval", "gate_paper_eval", "gate_community_eval", "position_2d",
    "channel_released_2d", "nonlocal_gaussian_eval", "nonlocal_dot_eval", "nonlocal_gce",
    "aggregation_same_2d", "aggregation_down_2d", "aggregation_up_2d", "reduction_1",
    "reduction_2", "inverted_v2_eval", "inverted_v3_eval",
]  # fmt: skip


def read() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent.parent / "golden" / "attention.npz") as store:
        index, numbers = json.loads(str(store["index"])), store["numbers"]
    ends = np.cumsum([math.prod(shape) for _, shape in index])
    parts = np.split(numbers, ends[:-1])
    return {key: part.reshape(s) for (key, s), part in zip(index, parts, strict=True)}


STORE = read()


def part(case: str, kind: str) -> dict[str, np.ndarray]:
    start = f"{case}/{kind}/"
    return {key.removeprefix(start): STORE[key] for key in STORE if key.startswith(start)}


def nested(flat: dict[str, np.ndarray]) -> dict:
    tree: dict = {}
    for path, value in flat.items():
        *parents, leaf = path.split("/")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
        at[leaf] = jnp.asarray(value)
    return tree


def load(case: str) -> tuple[dict, dict, list]:
    inputs = [jnp.asarray(STORE[f"{case}/{key}"]) for key in ("x", "gate")
              if f"{case}/{key}" in STORE]  # fmt: skip
    return nested(part(case, "params")), nested(part(case, "stats")), inputs


def call(layer: nn.Module, params, stats, *inputs, train: bool = False):
    """Output and new running statistics."""
    takes = "train" in inspect.signature(type(layer).__call__).parameters
    variables = {"params": params, **({"batch_stats": stats} if stats else {})}
    flags = {"train": train} if takes else {}
    return layer.apply(variables, *inputs, mutable=["batch_stats"], **flags)


def close(ours, theirs, tolerance: float = 1e-5) -> None:
    scale = max(1.0, float(abs(theirs).max()))
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance * scale)


def close_gradients(ours, theirs) -> None:
    """Those that a norm makes vanish are sums of cancelling parts as large as the others."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    largest = max(1.0, *(float(abs(a).max()) for a in jax.tree.leaves(theirs)))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        # 2e-5: they are sums over all pixels, which each version of XLA rounds in another order
        close(a, np.asarray(b), 2e-5 * (largest if float(abs(b).max()) < 1e-4 else 1))


@pytest.mark.parametrize("case", GOLDEN)
def test_a_layer_agrees_with_torch(case: str):
    layer, train = GOLDEN[case], "train" in case
    params, stats, inputs = load(case)

    @jax.jit
    def both(params, w, *inputs):
        def function(params, *inputs):
            y, new = call(layer, params, stats, *inputs, train=train)
            return y, new.get("batch_stats", {})

        y, back, new = jax.vjp(function, params, *inputs, has_aux=True)
        return y, new, back(w)

    y, new, (dparams, *dinputs) = both(params, jnp.asarray(STORE[f"{case}/w"]), *inputs)
    close(y, STORE[f"{case}/y"])
    close_gradients(dparams, nested(part(case, "dparams")))
    for key, gradient in zip(("x", "gate"), dinputs, strict=False):
        close(gradient, STORE[f"{case}/d{key}"])
    theirs = part(case, "new_stats")
    means = {path: value for path, value in theirs.items() if path.endswith("mean")}
    ours = {"/".join(k.key for k in path): v for path, v in jax.tree.leaves_with_path(new)}
    for path, value in means.items():  # variances: torch keeps the unbiased (tests of Norm)
        close(ours[path], value)


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_init_makes_the_parameters_of_the_golden_and_a_gradient_reaches_each(case: str):
    layer = GOLDEN[case]
    params, stats, inputs = load(case)
    takes = "train" in inspect.signature(type(layer).__call__).parameters
    fresh = jax.eval_shape(
        lambda: layer.init(jax.random.key(0), *inputs, **({"train": True} if takes else {}))
    )
    shapes = jax.tree.map(lambda a: a.shape, (fresh["params"], fresh.get("batch_stats", {})))
    assert shapes == jax.tree.map(lambda a: a.shape, (params, stats))
    w = jnp.asarray(STORE[f"{case}/w"])

    def loss(params):
        return (call(layer, params, stats, *inputs, train=False)[0] * w).sum()

    for path, gradient in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
        # The softmax does not feel the same number added to all keys.
        if "key" not in str(path) or "bias" not in str(path):
            assert float(abs(gradient).max()) > 1e-4, path


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_bfloat16_gives_bfloat16_close_to_float32(case: str):
    params, stats, inputs = load(case)
    y, _ = jax.jit(
        lambda *inputs: call(GOLDEN[case], params, stats, *inputs),
    )(*(a.astype(jnp.bfloat16) for a in inputs))
    assert y.dtype == jnp.bfloat16
    close(y.astype(jnp.float32), STORE[f"{case}/y"], 5e-2)


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_sharded_rows_and_batches_give_the_same_output_and_gradients(case: str):
    layer = GOLDEN[case]
    params, stats, inputs = load(case)
    mesh = jax.make_mesh((2, 4), ("data", "spatial"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    keys = jax.random.split(jax.random.key(0), 3)
    channels = [a.shape[-1] for a in inputs]
    sizes = [(16, 6), (8, 3) if case == "gate_paper_eval" else (16, 6)]
    inputs = [
        jax.random.normal(key, (2, *size, c))
        for key, size, c in zip(keys, sizes, channels, strict=False)
    ]

    def loss(params, *inputs):
        y, _ = call(layer, params, stats, *inputs)
        return jnp.sin(y).sum(), y

    step = jax.jit(jax.grad(loss, argnums=tuple(range(1 + len(inputs))), has_aux=True))
    whole = jax.tree.map(np.asarray, step(params, *inputs))
    shared = NamedSharding(mesh, PartitionSpec("data", "spatial"))
    sharded = step(params, *(jax.device_put(a, shared) for a in inputs))
    close(sharded[1], whole[1])
    for ours, theirs in zip(sharded[0], whole[0], strict=True):
        close_gradients(ours, theirs)


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_a_layer_can_be_exported_with_sizes_unknown(case: str):
    params, stats, inputs = load(case)
    b, h, w = export.symbolic_shape("b, h, w", constraints=["h >= 2", "w >= 2"])
    sizes = [(h, w), (h // 2 + 1, w // 2 + 1) if case == "gate_paper_eval" else (h, w)]
    symbols = [
        jax.ShapeDtypeStruct((b, *size, a.shape[-1]), "float32")
        for size, a in zip(sizes, inputs, strict=False)
    ]
    function = jax.jit(lambda *inputs: call(GOLDEN[case], params, stats, *inputs)[0])
    exported = export.export(function)(*symbols)
    close(exported.call(*inputs), STORE[f"{case}/y"])


@pytest.mark.parametrize("layer", [PositionAttention(), NonLocal(), NonLocal(pool=2),
    NonLocal(pairing="dot_product"), GlobalAggregation(8, heads=2), GlobalAggregation(8, "down"),
    SpatialReductionAttention(2), SpatialReductionAttention(2, 2)])  # fmt: skip
def test_no_array_of_pixels_by_pixels_exists_forward_or_backward(layer: nn.Module):
    x = jax.ShapeDtypeStruct((1, 32, 32, 32, 8), "float32")
    takes = "train" in inspect.signature(type(layer).__call__).parameters
    flags = {"train": False} if takes else {}
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), jnp.zeros(x.shape), **flags))

    def loss(params, x):
        y, _ = call(layer, params, variables.get("batch_stats", {}), x)
        return y.astype(jnp.float32).sum()

    stats = jax.tree.map(lambda a: jnp.zeros(a.shape), variables.get("batch_stats", {}))
    variables = {**variables, "batch_stats": stats}
    jaxpr = jax.make_jaxpr(jax.value_and_grad(loss, argnums=(0, 1)))(variables["params"], x)
    pixels = 32**3
    smallest_map = pixels * pixels // 8  # where keys or queries are halved along each axis
    assert largest(jaxpr.jaxpr) < smallest_map // 2


def largest(jaxpr) -> int:
    """Numbers of the largest array that a program makes."""
    found = [math.prod(v.aval.shape) for e in jaxpr.eqns for v in e.outvars]
    inner = [
        j.jaxpr if hasattr(j, "jaxpr") else j
        for e in jaxpr.eqns
        for value in e.params.values()
        for j in (value if isinstance(value, (list, tuple)) else [value])
        if hasattr(j, "eqns") or hasattr(j, "jaxpr")
    ]
    return max([0, *found, *map(largest, inner)])
