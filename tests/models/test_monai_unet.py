"""MONAI's U-Net: numbers and counts of MONAI's own; what it takes."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.layers import ADN
from jaxseg.models.monai_unet import MonaiUNet
from tests.models import peers
from tests.models.medical_counts import check_cost

MONAI = MonaiUNet(2)
BATCH = ADN("batch", affine=True)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("UNet2d_res0", MONAI.clone(units=0)),
        ("UNet2d_res2", MONAI),
        ("UNet3d_res2_BN", MONAI.clone(after=BATCH)),
    ],
)
def test_its_numbers_are_those_of_monai(shared, name, model):
    names = model.names["monai"]
    peers.check_fingerprint(shared / "facts", f"monai/{name}", model, names, tolerance=1e-4)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("UNet2d_16-256_res0", MONAI.clone(units=0)),
        ("UNet2d_16-256_res2", MONAI),
        ("UNet3d_16-256_res2", MONAI),
        ("UNet3d_16-256_res2_BN", MONAI.clone(after=BATCH)),
    ],
)
def test_it_costs_what_monai_does(shared, name, model):
    check_cost(shared / "facts", f"monai/{name}", model)


def test_its_stride_is_that_of_each_axis():
    assert MONAI.stride == 16
    assert MONAI.clone(widths=(4, 4, 4), strides=((2, 2, 1), (1, 2, 3))).stride == (2, 4, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strides": (2, 2)}, "a stride for each but the last"),
        ({"widths": (4,), "strides": ()}, "two widths or more"),
        ({"kernel_size": 2}, "kernel_size=2: must be odd"),
        ({"up_kernel_size": (3, 4)}, "must be odd"),
        ({"strides": (2, 2, 2, (2, 2, 2))}, "the image has"),
        ({"after": ADN(dropout=1.5)}, r"dropout=1.5: must be in \[0, 1\]"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    model, x = MONAI.clone(**fields), jnp.zeros((1, 16, 16, 1))
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
