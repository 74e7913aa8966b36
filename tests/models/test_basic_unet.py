"""MONAI's basic U-Net: numbers and counts of MONAI's own."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.models.basic_unet import BasicUNet
from tests.models import peers
from tests.models.medical_counts import check_cost


@pytest.mark.parametrize("name", ["BasicUNet2d", "BasicUNet3d"])
def test_its_numbers_are_those_of_monai(shared, name):
    model = BasicUNet(2)
    names = model.names["monai"]
    peers.check_fingerprint(shared / "facts", f"monai/{name}", model, names)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("BasicUNet2d", BasicUNet(2)),
        ("BasicUNet3d", BasicUNet(2)),
        (
            "BasicUNet2d_classic64",
            BasicUNet(2, widths=(64, 128, 256, 512, 1024), last_width=128),
        ),
    ],
)
def test_it_costs_what_monai_does(shared, name, model):
    check_cost(shared / "facts", f"monai/{name}", model)


@pytest.mark.parametrize("widths", [(4,), (4, 4, 1)])
def test_fewer_than_two_levels_and_widths_without_a_half_are_refused(widths):
    model, x = BasicUNet(2, widths=widths), jnp.zeros((1, 16, 16, 1))
    with pytest.raises(UserError, match="two levels or more, of two channels or more"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
