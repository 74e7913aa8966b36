"""H-DenseUNet's 2-D network: numbers of an independent form, parameters of the released one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.convert import place
from jaxseg.models.dense_unet import DenseUNet
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"


def variables(model):
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_dense.py
    model = DenseUNet(4, layers=(2, 3, 2, 1), growth=4, first=6, widths=(6, 5))
    peers.check(GOLDEN, "dense_unet", model, [(r"(.*)", r"\1!")])


@pytest.mark.parametrize(("skips", "released"), [("added", 49_747_779), ("none", 45_082_275)])
def test_the_parameters_are_those_of_the_released_network(skips, released):
    found = variables(DenseUNet(3, skips=skips, norms="released"))
    assert cost.parameters(found) == released
    statistics = sum(leaf.size for leaf in jax.tree.leaves(found["batch_stats"]))
    assert statistics == 222_752  # counts-medical.json


def test_names_put_a_densenet_161_of_torchvision_into_the_trunk():
    found, names = variables(DenseUNet(3)), DenseUNet.names["torchvision"]
    ours = {tuple(entry.key for entry in path)
            for path, _ in jax.tree_util.tree_leaves_with_path(found)}  # fmt: skip
    keys = {
        "features.conv0.weight": (96, 3, 7, 7),
        "features.denseblock4.denselayer24.norm2.running_var": (192,),
        "features.denseblock1.denselayer1.conv1.weight": (192, 96, 1, 1),
        "features.transition3.conv.weight": (1056, 2112, 1, 1),
        "features.norm5.bias": (2208,),
    }
    assert {place(key, shape, names) for key, shape in keys.items()} <= ours
