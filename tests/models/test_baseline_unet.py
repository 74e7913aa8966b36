"""The baseline of surveys: Lee's network with its widths, and what is its own."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.models.baseline_unet import BaselineUNet
from tests.models import peers

LEE = BaselineUNet(1, widths=(64, 128, 256, 512, 1024), head_bias=True)


def test_with_lees_widths_and_bias_it_gives_lees_numbers(shared):
    names = LEE.names["LeeJunHyun/Image_Segmentation"]
    peers.check_fingerprint(shared / "facts", "lee/U_Net", LEE, names)


def test_it_costs_what_lees_does():
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: LEE.init(jax.random.key(0), x, train=False), x)
    macs = cost.macs(lambda v, x: LEE.apply(v, x, train=False), variables, x)
    assert (cost.parameters(variables), macs) == (34_527_041, 50_031_493_120)


@pytest.mark.parametrize("bias", [False, True])
def test_the_head_has_a_bias_only_where_it_is_asked_for(bias):
    model, x = BaselineUNet(2, widths=(4, 4), head_bias=bias), jnp.zeros((1, 8, 8, 1))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]
    assert ("bias" in params["head"]) == bias
    assert "bias" in params["level0_up"]["conv"]
