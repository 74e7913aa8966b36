"""MONAI's DynUNet: numbers and counts of MONAI's own; what it takes."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.models.monai_dynunet import MonaiDynUNet
from tests.models import peers
from tests.models.medical_counts import check_cost

MONAI = MonaiDynUNet(3)
FOUR = {"widths": (32, 64, 128, 256), "strides": (1, 2, 2, 2), "kernels": (3,) * 4}
EIGHT = {"widths": (32, 64, 128, 256, *(512,) * 4), "strides": (1, *(2,) * 7), "kernels": (3,) * 8}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("DynUNet3d_6st", {}),
        ("DynUNet3d_6st_ds2", {"auxiliary": 2}),
        ("DynUNet3d_6st_res", {"block": "residual"}),
        ("DynUNet2d_8st", EIGHT),
    ],
)
def test_it_costs_what_monai_does(shared, name, fields):
    # MONAI computes the heads that it throws away in evaluation
    check_cost(shared / "facts", f"monai/{name}", MONAI.clone(**fields))


@pytest.mark.parametrize(("name", "block"), [("4st", "plain"), ("4st_res", "residual")])
def test_its_numbers_are_those_of_monai(shared, name, block):
    model = MONAI.clone(**FOUR, block=block)
    peers.check_fingerprint(
        shared / "facts", f"monai/DynUNet3d_{name}", model, model.names["monai"]
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strides": (1, 2, 4, 5)}, r"strides=\(5, 5\): must be at most \(4, 4\)"),
        ({"strides": (1, 2, 2, 3), "block": "residual"}, r"must be at most \(2, 2\)"),
        ({"strides": (2, 2, 2, 2)}, "must be 1 at first"),
        ({"kernels": (3, 3, 3, 4)}, "kernel_size=4: must be odd"),
        ({"kernels": (3, 3)}, "MonaiDynUNet.kernels=.*must be 4 entries"),
        ({"auxiliary": 3}, "auxiliary=3: must be below 3"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    model, x = MONAI.clone(**{**FOUR, **fields}), jnp.zeros((1, 16, 16, 1))
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
