"""MultiResUNet: the numbers and counts of the authors' Keras code; its block and its path.

The numbers of the parts by themselves stand in tests/layers/test_blocks.py.
"""

import json
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from jaxseg.errors import UserError
from jaxseg.models.multiresunet import MultiResBlock, MultiResUNet, block_width
from tests.models import peers
from tests.models.medical_counts import check_cost

LEAVES = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}


def places() -> dict[str, str]:
    """Where each layer of the Keras code stands here; Keras numbers them as they are made."""
    convs, norms, ups = [], [], []

    def block(place):
        parts = [f"{place}/{part}" for part in ("shortcut", "conv1", "conv2", "conv3")]
        convs.extend(parts)
        norms.extend([*parts, f"{place}/norm", f"{place}/out_norm"])

    for level in range(5):
        block(f"level{level}_block")
        for i in range(4 - level) if level < 4 else ():
            parts = [f"level{level}_path/{part}{i}" for part in ("shortcut", "conv")]
            convs.extend(parts)
            norms.extend([*parts, f"level{level}_path/norm{i}"])
    for level in (3, 2, 1, 0):
        ups.append(f"level{level}_up")
        block(f"level{level}_up_block")
    convs.append("head"), norms.append("head")
    kinds = {"conv2d": convs, "batch_normalization": norms, "conv2d_transpose": ups}
    return {
        f"{kind}_{i}" if i else kind: place
        for kind, found in kinds.items()
        for i, place in enumerate(found)
    }


def filled(keys) -> dict:
    """The formula's weights, at our places and in our layout."""
    flat, where, scaled = {}, places(), {key for key, _ in keys if key.endswith("gamma")}
    for number, (key, shape) in enumerate(keys):
        layer, leaf = key.split("/")
        angle = 0.37 * np.arange(math.prod(shape)) + number
        value = 0.1 * np.cos(angle) + 0.5 * (leaf == "gamma")
        if leaf == "moving_mean":
            value = 0.1 * np.sin(angle)
        elif leaf == "moving_variance":
            value = 1 + 0.2 * np.cos(angle) ** 2
        elif leaf == "kernel":
            out = shape[-2 if "transpose" in layer else -1]
            value = math.sqrt(3 * out / math.prod(shape)) * np.cos(angle)
        value = value.reshape(shape).astype("f4")
        at = where[layer].split("/")
        if "transpose" in layer:
            value = value.swapaxes(-1, -2) if leaf == "kernel" else value
        elif leaf == "kernel":
            at.append("conv")
        elif leaf != "beta" and f"{layer}/gamma" not in scaled:
            at.append("norm")  # a convolution's norm has no scale, and its bias is the brick's
        kind = "batch_stats" if leaf.startswith("moving") else "params"
        flat[(kind, *at, LEAVES.get(leaf, leaf))] = value
    return unflatten_dict(flat)


def test_it_gives_the_numbers_of_the_authors_keras_code(shared):
    facts, model = shared / "facts", MultiResUNet(1)
    known = json.loads((facts / "outputs-medical.json").read_text())["multires/keras_paper"]
    variables = filled(json.loads((facts / "keys" / "multires__keras_paper.json").read_text()))
    at = np.arange(math.prod(known["inputs"][0]))
    image = jnp.asarray((np.sin(0.01 * at) + 0.5 * np.cos(0.37 * at)).astype("f4"))
    image = image.reshape(known["inputs"][0])
    wanted = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, wanted)
    out = jax.jit(lambda v, x: nn.sigmoid(model.apply(v, x, train=False).logits))(variables, image)
    peers.check_output(np.asarray(out).reshape(-1), known["outputs"][0], 1e-3)


def test_its_torch_form_gives_the_numbers_and_has_the_cost_of_the_authors_port(shared):
    model, facts = MultiResUNet(2, form="torch"), shared / "facts"
    names = model.names["nibtehaz/MultiResUNet"]
    peers.check_fingerprint(facts, "multires/torch", model, names, tolerance=2e-3)
    check_cost(facts, "multires/torch_2d_3ch", model)


@pytest.mark.parametrize("rank", [2, 3])
def test_it_has_the_parameters_of_the_authors(shared, rank: int):
    check_cost(shared / "facts", f"keras/MultiResUNet_{rank}d", MultiResUNet(1))


def test_the_block_has_the_width_that_block_width_says():
    x = jnp.zeros((1, 4, 5, 3))
    block = MultiResBlock(32)
    y = jax.eval_shape(lambda: block.init_with_output(jax.random.key(0), x, train=False))[0]
    assert y.shape == (1, 4, 5, block_width(32)) and block_width(32) == 8 + 17 + 26


def test_a_width_that_leaves_a_convolution_without_channels_is_refused():
    with pytest.raises(UserError, match="width=3 and alpha=1.67 .* width must be 4 or more"):
        MultiResBlock(3).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
    MultiResBlock(4).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
