"""Attention layers give the numbers of the released codes."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from jaxseg.layers.cbam import CBAM
from jaxseg.layers.dual_attention import ChannelAttention, PositionAttention
from jaxseg.layers.non_local import NonLocal
from jaxseg.layers.squeeze_excitation import (
    ConcurrentExcitation,
    SpatialExcitation,
    SqueezeExcitation,
)
from jaxseg.models.nonlocal_unet import GlobalAggregation

# Weights by recipe: torch's order of parameters.
SQUEEZE = ["reduce/kernel", "reduce/bias", "expand/kernel", "expand/bias"]
BOTH = ["kernel", "bias"]
NO_TRAIN = (
    SqueezeExcitation, SpatialExcitation, ConcurrentExcitation, PositionAttention, ChannelAttention
)  # fmt: skip
FINGERPRINTS = {
    "scse/cSE_16": (SqueezeExcitation(2), SQUEEZE),
    "scse/sSE_16": (SpatialExcitation(), ["squeeze/kernel", "squeeze/bias"]),
    "scse/scSE_max_16": (
        ConcurrentExcitation(),
        [
            *(f"channel/{path}" for path in SQUEEZE), "spatial/squeeze/kernel",
            "spatial/squeeze/bias",
        ],
    ),
    "cbam/CBAM_32_r16": (
        CBAM(),
        [
            *(f"channel_{path}" for path in SQUEEZE), "spatial_conv/kernel", "spatial_norm/scale",
            "spatial_norm/bias", "spatial_norm/mean", "spatial_norm/var",
        ],
    ),
    "msga/PAM_32": (
        PositionAttention(),
        ["gamma", *(f"{name}/{p}" for name in ("query", "key", "value") for p in BOTH)],
    ),
    "msga/CAM_32": (ChannelAttention(), ["gamma"]),
    "nonlocal_unet/GAB_same_h2": (
        GlobalAggregation(16, heads=2),
        [f"{name}/{p}" for name in ("query", "key", "value", "out") for p in BOTH],
    ),
    "nonlocal_unet/GAB_up_h1": (
        GlobalAggregation(8, "up"),
        [f"{name}/{p}" for name in ("query", "key", "value", "out") for p in BOTH],
    ),
    "gce/NonLocal2d": (
        NonLocal(64, scaled=True, pool=2, norm="group"),
        [*(f"{name}/{p}" for name in ("theta", "phi", "g", "out") for p in BOTH), "scale", "bias"],
    ),
}  # fmt: skip


def formula(i: int, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The i-th number array, in torch's layout."""
    n = math.prod(shape)
    a = np.arange(n)
    c = np.cos(0.37 * a + i)
    if key.endswith("running_var"):
        values = 1 + 0.2 * c**2
    elif key.endswith("running_mean"):
        values = 0.1 * np.sin(0.37 * a + i)
    elif len(shape) > 1:
        values = np.sqrt(3 / (n / shape[0])) * c
    else:
        values = 0.5 + 0.1 * c if key.endswith("weight") else 0.1 * c
    return values.reshape(shape)


def from_torch(value: np.ndarray, path: str, case: str, rank: int) -> np.ndarray:
    if value.ndim == 2:  # a linear layer
        return value.T.reshape((1,) * rank + value.T.shape)
    if value.ndim < 2:
        return value
    transposed = case.endswith("GAB_up_h1") and path == "query/kernel"
    return value.transpose(*range(2, value.ndim), *((0, 1) if transposed else (1, 0)))


def close(ours, theirs) -> None:
    theirs = np.array(theirs)
    scale = max(1.0, float(abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("case", FINGERPRINTS)
def test_a_layer_gives_the_numbers_of_the_released_code(case: str, shared: Path):
    record = json.loads((shared / "facts" / "outputs-medical.json").read_text())[case]
    keys = json.loads((shared / "facts" / "keys" / f"{case.replace('/', '__')}.json").read_text())
    layer, paths = FINGERPRINTS[case]
    [shape], [theirs] = record["inputs"], record["outputs"]
    flat = {
        path: from_torch(formula(i, key, tuple(s)), path, case, len(shape) - 2)
        for i, ((key, s), path) in enumerate(zip(keys, paths, strict=True))
    }
    moments = {path for path in flat if path.endswith(("/mean", "/var"))}
    variables = {
        "params": unflatten_dict({p: a for p, a in flat.items() if p not in moments}, sep="/"),
        "batch_stats": unflatten_dict({p: flat[p] for p in moments}, sep="/"),
    }
    variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), variables)
    flags = {} if type(layer) in NO_TRAIN else {"train": False}
    a = np.arange(math.prod(shape))
    x = np.moveaxis((np.sin(0.01 * a) + 0.5 * np.cos(0.37 * a)).reshape(shape), 1, -1)
    y = jax.jit(lambda x: layer.apply(variables, x, **flags))(jnp.asarray(x, jnp.float32))
    y = np.moveaxis(np.asarray(y, np.float64), -1, 1)
    assert list(y.shape) == theirs["shape"]
    assert sum(a.size for a in jax.tree.leaves(variables["params"])) == record["params"]
    middle = y.size // 2
    close(y.ravel()[:8], theirs["first8"])
    close(y.ravel()[middle : middle + 4], theirs["mid4"])
    close(y.ravel()[-4:], theirs["last4"])
    close(y.std(), theirs["std"])
