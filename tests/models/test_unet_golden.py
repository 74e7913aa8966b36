"""`unet` with ResNet encoders gives the numbers of segmentation_models_pytorch's Unet.

Weights are rebuilt from the record by the recipe in its README, keys mapped here.
"""

import json
import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.models import create

NAMES = [
    (r"encoder\.(conv|bn)1", r"encoder.stem_conv"),
    (r"encoder\.layer(\d)\.(\d+)\.(?:conv|bn)(\d)", r"encoder.layer\1_block\2_conv\3"),
    (r"encoder\.layer(\d)\.(\d+)\.downsample\.\d", r"encoder.layer\1_block\2_shortcut"),
    (r"segmentation_head\.0", "head"),
]
LEAVES = {"running_mean": "mean", "running_var": "var", "bias": "bias"}


def weight(key: str, shape: list[int]) -> np.ndarray:
    r = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_mean") or (len(shape) == 1 and key.endswith("bias")):
        r = 0.1 * r
    elif key.endswith("running_var"):
        r = 1 + 0.1 * abs(r)
    else:
        r = r * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 1 + 0.1 * r
    return r.astype("f4")


def path(key: str, shape: list[int]) -> tuple[str, ...]:
    """Where a key of the state_dict stands in the variables."""
    place, leaf = key.rsplit(".", 1)
    for pattern, name in NAMES:
        place = re.sub(f"^{pattern}$", name, place)
    up = re.match(r"decoder\.blocks\.(\d)\.conv(\d)\.\d", place)
    place = f"decoder.level{4 - int(up[1])}_conv{up[2]}" if up else place
    kind = "batch_stats" if leaf.startswith("running") else "params"
    leaf = LEAVES.get(leaf) or ("kernel" if len(shape) > 1 else "scale")
    part = [] if place == "head" else ["conv" if leaf == "kernel" else "norm"]
    return (kind, *place.split("."), *part, leaf)


@pytest.mark.parametrize(
    ("record", "encoder"),
    [("smp_unet_resnet34", "resnet34"), ("smp_unet_resnet50_1ch", "resnet50")],
)
def test_unet_agrees_with_segmentation_models_pytorch(shared, record: str, encoder: str):
    golden = json.loads((shared / "golden" / f"{record}.json").read_text())
    model = create("unet", num_classes=golden["kwargs"]["classes"], encoder=encoder)
    shape, seed = golden["input"]["shape"], golden["input"]["seed"]
    image = np.random.RandomState(seed).standard_normal(shape).astype("f4")
    image = jnp.asarray(np.moveaxis(image, 1, -1))
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    assert cost.parameters(variables) == golden["parameters"]

    theirs = {path(k, s): (k, s) for k, s in golden["state_dict"] if "num_batches" not in k}

    def fill(place, leaf):
        key, shape = theirs.pop(tuple(p.key for p in place))
        value = weight(key, shape)
        value = value.transpose(*range(2, value.ndim), 1, 0) if value.ndim > 1 else value
        assert value.shape == leaf.shape
        return jnp.asarray(value)

    variables = jax.tree_util.tree_map_with_path(fill, variables)
    assert not theirs
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)(variables, image)
    out = golden["outputs"]["out"]
    ours = np.moveaxis(np.asarray(logits), -1, 1).reshape(-1)[out["indices"]]
    assert abs(ours - np.array(out["values"])).max() <= 1e-3 * out["std"]
