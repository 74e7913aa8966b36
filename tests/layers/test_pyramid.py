"""Pyramid and context layers give PyTorch's numbers (tests/golden/make_pyramid.py)."""

import json
import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.layers.aspp import ASPP, SummedASPP
from jaxseg.layers.pyramid_pooling import PyramidPooling
from jaxseg.models.ce_net import DenseAtrous, ResidualMultiKernelPooling
from jaxseg.models.hdc_duc import DenseUpsampling, HybridDilation
from jaxseg.models.pan import FeaturePyramidAttention, GlobalAttentionUpsample

aspp = {"features": 3, "rates": (1, 3), "dropout": 0.0}
CASES: dict[str, nn.Module] = {
    "aspp_standard": ASPP(**aspp),
    "aspp_deeplab": ASPP(**aspp, form="deeplab"),
    "aspp_community": ASPP(**aspp, form="community"),
    "aspp_tensorflow": ASPP(**aspp, order="tensorflow"),
    "aspp_without_norm": ASPP(3, rates=(1, 2), norm="none", projection=5, dropout=0.0),
    "aspp_3d": ASPP(3, rates=(1, 2), image_pooling=False, dropout=0.0),
    "aspp_separable_3d": ASPP(3, rates=(1, 2), form="deeplab", dropout=0.0),
    "summed_aspp": SummedASPP(3, rates=(1, 4)),
    "summed_aspp_hidden": SummedASPP(3, rates=(1, 2), hidden=5, dropout=0.0),
    "summed_aspp_3d": SummedASPP(3, rates=(1, 2)),
    "ppm_mean": PyramidPooling(),
    "ppm_max": PyramidPooling(2, bins=(1, 3), pool="max"),
    "ppm_upernet": PyramidPooling(2, bins=(1, 2, 3), align_corners=False),
    "ppm_smp": PyramidPooling(order="input_last", norm_of_one="none"),
    "ppm_3d": PyramidPooling(bins=(1, 2), pool="max"),
    "rmp_shared": ResidualMultiKernelPooling(),
    "rmp_separate_3d": ResidualMultiKernelPooling(windows=(2, 3), weights="separate"),
    "dac_shared": DenseAtrous(),
    "dac_separate": DenseAtrous(weights="separate"),
    "dac_shared_3d": DenseAtrous(),
    "fpa_smp": FeaturePyramidAttention(3, use_bias=True),
    "fpa_wide": FeaturePyramidAttention(2, width=2, pool="average", align_corners=False),
    "fpa_3d": FeaturePyramidAttention(2),
    "gau_relu": GlobalAttentionUpsample(),
    "gau_smp": GlobalAttentionUpsample(gate="sigmoid", use_bias=True),
    "gau_3d": GlobalAttentionUpsample(align_corners=False),
    "hdc": HybridDilation(2),
    "hdc_3d": HybridDilation(2, rates=(1, 2)),
    "duc": DenseUpsampling(2, factor=3),
    "duc_3d": DenseUpsampling(2, factor=2),
}
WITHOUT_MODE = (ResidualMultiKernelPooling, DenseAtrous, DenseUpsampling)


def unpack() -> dict[str, np.ndarray]:
    file = np.load(Path(__file__).parent.parent / "golden" / "pyramid.npz")
    numbers, start, store = file["numbers"], 0, {}
    for key, shape in json.loads(str(file["index"])):
        store[key] = numbers[start : start + np.prod(shape, dtype=int)].reshape(shape)
        start += store[key].size
    return store


STORE = unpack()
MODES = [
    (case, mode) for case in CASES for mode in ("eval", "train") if f"{case}/{mode}/y" in STORE
]


def under(prefix: str) -> dict:
    """The entries below a prefix, as a nested dict."""
    found = {
        k.removeprefix(f"{prefix}/"): v for k, v in STORE.items() if k.startswith(f"{prefix}/")
    }
    return unflatten_dict(found, sep="/")


def variables(case: str) -> dict:
    return {
        name: under(f"{case}/{name}")
        for name in ("params", "batch_stats")
        if under(f"{case}/{name}")
    }


def inputs(case: str) -> list[jax.Array]:
    return [jnp.asarray(STORE[k]) for k in (f"{case}/x0", f"{case}/x1") if k in STORE]


def apply(module: nn.Module, variables: dict, images: list, *, train: bool):
    if isinstance(module, WITHOUT_MODE):
        return module.apply(variables, *images)
    if train:
        return module.apply(variables, *images, train=True, mutable=["batch_stats"])[0]
    return module.apply(variables, *images, train=False)


def close(ours, theirs, tolerance: float = 1e-5) -> None:
    scale = max(1.0, float(abs(theirs).max()))
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(("case", "mode"), MODES)
def test_a_layer_agrees_with_torch_in_value_and_gradients(case: str, mode: str):
    given, w = variables(case), jnp.asarray(STORE[f"{case}/w"])

    @jax.jit
    def both(params, images):
        def forward(params, images):
            return apply(CASES[case], given | {"params": params}, images, train=mode == "train")

        y, back = jax.vjp(forward, params, images)
        return y, *back(w)

    y, dparams, dx = both(given["params"], inputs(case))
    expected = under(f"{case}/{mode}")
    close(y, expected["y"])
    for number, ours in enumerate(dx):
        close(ours, expected[f"dx{number}"])
    dparams, theirs = flatten_dict(dparams), flatten_dict(expected["dparams"])
    assert dparams.keys() == theirs.keys()
    for path in theirs:
        # the gradient of a bias before a norm is 0 but for rounding, which is its kernel's
        scale = max(1.0, *(abs(theirs[p]).max() for p in theirs if p[:-1] == path[:-1]))
        np.testing.assert_allclose(np.asarray(dparams[path]), theirs[path], 0, 1e-5 * scale)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_reaches_every_parameter(case: str):
    # torch's gradients, which ours equal; a bias before a norm has none
    without = re.compile(r"(gate|local|global|main|down\d|level\d)_conv/bias")
    for key, gradient in STORE.items():
        if key.startswith(f"{case}/eval/dparams/"):
            assert without.search(key) or abs(gradient).max() > 1e-3, key


@pytest.mark.parametrize("case", CASES)
def test_a_layer_has_the_parameters_of_torchs(case: str):
    fields = {} if isinstance(CASES[case], WITHOUT_MODE) else {"train": False}
    ours = jax.eval_shape(
        lambda *x: CASES[case].init(jax.random.key(0), *x, **fields), *inputs(case)
    )
    theirs = variables(case)
    assert jax.tree.map(lambda a: a.shape, dict(ours)) == jax.tree.map(lambda a: a.shape, theirs)


@pytest.mark.parametrize("case", [case for case in CASES if "3d" not in case])
def test_bfloat16_stays_bfloat16_and_close(case: str):
    given, images = variables(case), inputs(case)
    run = jax.jit(lambda images: apply(CASES[case], given, images, train=False))
    half = run([x.astype(jnp.bfloat16) for x in images])
    assert half.dtype == jnp.bfloat16
    whole = STORE[f"{case}/eval/y"]
    error = np.linalg.norm(np.asarray(half, np.float32) - whole) / np.linalg.norm(whole)
    assert error < 5e-2
