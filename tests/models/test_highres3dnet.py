"""HighRes3DNet: numbers and counts of MONAI's; plain logits; what it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.highres3dnet import DilatedBlock, HighRes3DNet
from tests.models.medical_counts import check_cost

MONAI = HighRes3DNet(160, head="monai")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("HighResNet3d", MONAI),
        ("HighResNet3d_bias", MONAI.clone(use_bias=True)),
        ("HighResNet2d", MONAI.clone(num_classes=2)),
    ],
)
def test_it_costs_what_monai_does(shared, name, model):
    check_cost(shared / "facts", f"monai/{name}", model)


def test_logits_of_the_paper_pass_neither_norm_nor_relu():
    model = HighRes3DNet(2, widths=(3,), depths=(1,), kernels=(3,), head_width=4)
    x = jax.ShapeDtypeStruct((1, 6, 6, 1), jnp.float32)
    params = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)["params"]
    assert {name: leaf.shape for name, leaf in params["head"].items()} == {
        "kernel": (1, 1, 4, 2),
        "bias": (2,),
    }
    assert model.names == {}  # MONAI has no such network


def test_more_features_are_amid_zeros_on_both_sides():
    x = jnp.asarray(np.random.RandomState(0).standard_normal((1, 4, 2)).astype("f4"))
    block = DilatedBlock(5, kernels=(1,))
    shapes = jax.eval_shape(lambda: block.init(jax.random.key(0), x, train=False))
    nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, "f4"), shapes)
    y = jax.jit(lambda v, x: block.apply(v, x, train=False))(nothing, x)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), (1, 2))))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (), "depths": ()}, "widths=.*one number or more"),
        ({"depths": (1,)}, "depths=.*one entry for each of widths"),
        ({"depths": (1, 0, 1)}, "depths=.*at least 1 each"),
        ({"kernels": ()}, "kernels=.*one size or more"),
        ({"kernels": (3, 2)}, "kernel_size=2: must be odd"),
        ({"widths": (8, 6, 8)}, "that never fall where shortcut='pad'"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    model, x = MONAI.clone(**fields), jnp.zeros((1, 8, 8, 1))
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
