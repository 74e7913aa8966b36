"""3D U-Net: the paper's sizes and parameters, and numbers of a PyTorch form of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.models.unet_3d import UNet3D
from tests.models import peers
from tests.models.medical_counts import check_cost

KEY = jax.random.key(0)
VALID = UNet3D(3, padded=False)
NAMES = (
    *((rf"e\.(\d)\.{3 * i}", rf"level\1_conv{i + 1}.conv!") for i in (0, 1)),
    *((rf"e\.(\d)\.{3 * i + 1}", rf"level\1_conv{i + 1}.norm!") for i in (0, 1)),
    *((rf"u\.{2 - level}", f"level{level}_up~") for level in range(3)),
    *(
        (rf"d\.{2 - level}\.{3 * i + j}", f"level{level}_up_conv{i + 1}.{part}!")
        for level in range(3)
        for i in (0, 1)
        for j, part in enumerate(("conv", "norm"))
    ),
    ("f", "head!"),
)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("valid_132x132x116", VALID),
        ("nobias", VALID.clone(use_bias=False)),
        ("same_1ch2cls", UNet3D(2)),
    ],
)
def test_it_costs_what_was_counted(shared, name, model):
    check_cost(shared / "facts", f"unet3d_cicek/{name}", model)


def test_the_papers_count_leaves_out_norms_and_the_biases_of_up_convolutions():
    x = jax.ShapeDtypeStruct((1, 132, 132, 116, 3), jnp.float32)
    prediction, variables = jax.eval_shape(lambda x: VALID.init_with_output(KEY, x, train=False), x)
    assert prediction.logits.shape == (1, 44, 44, 28, 3)
    assert cost.parameters(variables) == 19_075_523
    params = variables["params"]
    norms = sum(cost.parameters({"params": part.get("norm", {})}) for part in params.values())
    biases = sum(params[f"level{level}_up"]["bias"].size for level in range(3))
    assert 19_075_523 - norms - biases == 19_069_955  # the paper's number


def test_its_numbers_are_those_of_a_pytorch_form(shared):
    peers.check_fingerprint(shared / "facts", "unet3d_cicek/same", UNet3D(2), NAMES, tolerance=1e-4)


def test_valid_logits_are_padded_ones_where_no_convolution_sees_the_padding():
    valid, x = UNet3D(1, width=1, levels=2, padded=False), jnp.ones((1, 16, 32, 1))
    around = jnp.pad(x, [(0, 0), (8, 8), (8, 8), (0, 0)])

    @jax.jit
    def both():
        whole, variables = valid.clone(padded=True).init_with_output(KEY, around, train=False)
        return whole.logits, valid.apply(variables, around, train=False).logits

    whole, inside = both()
    assert inside.shape == x.shape  # 16 pixels an axis are lost
    np.testing.assert_allclose(inside, whole[:, 8:-8, 8:-8], atol=1e-6)
    assert inside.std() > 0


def test_sizes_that_do_not_fit_are_refused_with_the_nearest():
    assert VALID.output_size((92, 100)) == (4, 12)
    assert UNet3D(3).output_size((5, 7)) == (5, 7)
    with pytest.raises(UserError, match=r"unet_3d: .* 96 x 92 .* do: 92, 100 .*padded=True"):
        VALID.output_size((96, 92))
    with pytest.raises(UserError, match="UNet3D.levels=1: must be at least 2"):
        jax.eval_shape(
            lambda x: UNet3D(2, levels=1).init(KEY, x, train=False),
            jnp.zeros((1, 8, 8, 1)),
        )
