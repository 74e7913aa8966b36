"""R2U-Net: Lee's numbers and counts, both forms of kernels; its recurrent convolution.

The numbers of the convolution by itself stand in tests/layers/test_blocks.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.layers import ConvNorm
from jaxseg.models.r2unet import R2UNet, RecurrentConv
from tests.models import peers
from tests.models.medical_counts import check_cost

LEE = functools.partial(R2UNet, 1, kernels="shared")
GATED = LEE(gates="attention")


@pytest.mark.parametrize(("name", "model"), [("R2U_Net_t2", LEE()), ("R2AttU_Net_t2", GATED)])
def test_with_shared_kernels_it_gives_lees_numbers(shared, name, model):
    names = model.names["LeeJunHyun/Image_Segmentation"]
    peers.check_fingerprint(shared / "facts", f"lee/{name}", model, names, tolerance=1e-3)


@pytest.mark.parametrize(
    ("name", "model"),
    [*((f"R2U_Net_t{n}", LEE(steps=n)) for n in (1, 2, 3)), ("R2AttU_Net", GATED)],
)
def test_it_costs_what_lees_does(shared, name, model):
    check_cost(shared / "facts", f"lee/{name}", model)


def test_separate_kernels_cost_one_more_a_convolution():
    x = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)

    def count(kernels):
        model = R2UNet(2, widths=(4, 6), kernels=kernels)
        return cost.parameters(
            jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
        )

    # one 3x3 kernel more in each of two convolutions of level 0, level 1 and level 0 again
    assert count("separate") - count("shared") == 2 * 9 * (4 * 4 + 6 * 6 + 4 * 4)


@pytest.mark.parametrize("kernels", ["shared", "separate"])
def test_steps_cost_arithmetic_and_no_parameters(kernels):
    x = jnp.zeros((1, 4, 4, 8))

    def parameters_and_macs(steps: int):
        layer = RecurrentConv(8, steps=steps, kernels=kernels)
        made = jax.eval_shape(lambda: layer.init(jax.random.key(0), x, train=False))
        return cost.parameters(made), cost.macs(lambda v: layer.apply(v, x, train=False), made)

    one, three = parameters_and_macs(1), parameters_and_macs(3)
    assert one[0] == three[0] == 9 * 8 * 8 * (1 if kernels == "shared" else 2) + 2 * 8
    assert (one[1], three[1]) == (2 * 16 * 9 * 64, 4 * 16 * 9 * 64)


def test_without_steps_it_is_a_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    layer, plain = RecurrentConv(3, steps=0), ConvNorm(3)
    variables = layer.init(jax.random.key(1), x, train=False)
    np.testing.assert_allclose(
        layer.apply(variables, x, train=False), plain.apply(variables, x, train=False), rtol=1e-6
    )


def test_running_moments_move_once_a_step_and_once_before():
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    layer = RecurrentConv(3, steps=2, activation="none")
    variables = layer.init(jax.random.key(1), x, train=False)
    variables["params"]["conv"]["kernel"] *= 0  # each batch has mean 0, variance 0
    _, new = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(new["batch_stats"]["norm"]["var"], 0.9**3, rtol=1e-6)


def test_shared_kernels_refuse_another_number_of_channels():
    with pytest.raises(UserError, match="need 4 channels, got 3; put a 1x1"):
        RecurrentConv(4).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
