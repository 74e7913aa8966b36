"""scSE: where the blocks stand, what they are; segmentation_models_pytorch's numbers and placement.

The numbers of the blocks by themselves: tests/layers/test_attention_released.py.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import config
from jaxseg.encoders import Plain
from jaxseg.layers import CBAM, ConcurrentExcitation, SpatialExcitation, SqueezeExcitation
from jaxseg.models import SCSEUNet, UNet
from tests.models.blocks import Block
from tests.models.medical_counts import check_cost

ADD = ConcurrentExcitation("add")


def variables(model):
    return model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)), train=False)


@pytest.mark.parametrize(
    ("name", "block"),
    [("Channel", SqueezeExcitation(2)), ("Spatial", SpatialExcitation()), ("ChannelSpatial", ADD)],
)
@pytest.mark.parametrize("rank", [2, 3])
def test_its_blocks_cost_what_the_authors_do(shared, name, block, rank):
    volume = "3D" if rank == 3 else ""
    check_cost(shared / "facts", f"scse/{name}SELayer{volume}_64", Block(block))


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (ConcurrentExcitation(), {"channel", "spatial"}),
        (SqueezeExcitation(2), {"reduce", "expand"}),
        (SpatialExcitation(), {"squeeze"}),
    ],
)
def test_a_block_of_any_kind_ends_every_level(block, parts):
    model = SCSEUNet(2, widths=(4, 6, 8), recalibration=block)
    params = jax.eval_shape(lambda: variables(model))["params"]
    for side, levels in (("encoder", (0, 1, 2)), ("decoder", (0, 1))):
        found = {name: set(p) for name, p in params[side].items() if "recalibration" in name}
        assert found == {f"level{level}_recalibration": parts for level in levels}


def test_any_unet_takes_a_block_on_the_command_line():
    path = Path(__file__).parents[2] / "configs" / "unet_dsb2018.py"
    words = ["recalibration=SpatialExcitation()", "encoder.recalibration=CBAM(reduction=4)"]
    model = config.read(path, [f"recipe.model.{word}" for word in words]).recipe.model
    assert model.recalibration == SpatialExcitation()
    assert model.encoder.recalibration == CBAM(4)
    params = jax.eval_shape(lambda: variables(model.clone(encoder=Plain((4, 6)))))["params"]
    assert "squeeze" in params["decoder"]["level0_recalibration"]


def test_blocks_that_add_to_one_leave_the_unet():
    model, random = SCSEUNet(3, widths=(4, 6), recalibration=ADD), np.random.default_rng(0)

    def drawn(path, leaf):  # zeros in a block: both kinds of weights are a half
        zero = any("recalibration" in entry.key for entry in path)
        return np.zeros(leaf.shape, "f4") if zero else random.random(leaf.shape, "f4") + 0.1

    shapes = jax.eval_shape(lambda: variables(model))
    v = jax.tree_util.tree_map_with_path(drawn, shapes)
    plain = {
        kind: {
            side: {name: p for name, p in part.items() if "recalibration" not in name}
            for side, part in tree.items()
        }
        for kind, tree in v.items()
    }

    @jax.jit
    def both(v, plain, x):
        unet = UNet(3, encoder=Plain((4, 6)))
        return [net.apply(w, x, train=False).logits for net, w in ((model, v), (unet, plain))]

    weighed, wanted = both(v, plain, random.random((1, 7, 8, 2), "f4"))
    np.testing.assert_allclose(weighed, wanted, rtol=1e-5)
