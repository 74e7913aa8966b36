"""LW-HCN: where it is 2-D, and what the factorised convolution is. No numbers of others exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.lw_hcn import DSTS, LWHCN

pytestmark = pytest.mark.usefixtures("unchecked")

KEY = jax.random.key(0)


def made(model, shape):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda x: model.init(KEY, x, train=False), x)["params"]


def test_the_first_levels_of_the_encoder_are_2d_and_the_rest_is_factorised():
    volume, image = (made(LWHCN(2), (1, *size, 1)) for size in ((16, 16, 4), (16, 16)))
    for level in (0, 1):
        kernel = volume[f"level{level}_down1"]["conv"]["kernel"].shape
        assert kernel[:3] == (3, 3, 1)
        assert image[f"level{level}_down1"]["conv"]["kernel"].shape == (3, 3, *kernel[3:])
    for place in ("level2_down1", "level4_down2", "level0_up1"):
        taps = {
            name: leaf["kernel"].shape[:3] for name, leaf in volume[place].items() if name != "norm"
        }
        assert taps == {"within": (3, 3, 1), "across": (1, 1, 3), "pointwise": (1, 1, 1)}
        assert set(image[place]) == {"within", "pointwise", "norm"}


def test_the_factorised_convolution_is_one_whose_kernel_is_the_product():
    random = np.random.RandomState(0)
    layer, x = DSTS(3), random.standard_normal((1, 4, 5, 6, 2)).astype("f4")
    params = made(layer, x.shape)
    params = jax.tree.map(lambda a: random.standard_normal(a.shape).astype("f4"), params)
    within, across, pointwise = (
        params[name]["kernel"] for name in ("within", "across", "pointwise")
    )
    # [3 3 1 1 c] x [1 1 3 1 c] x [1 1 1 c k]
    kernel = np.swapaxes(within * across, -1, -2) * pointwise
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1, 1), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )
    y = np.asarray(y) / np.sqrt(1 + 1e-5) * params["norm"]["scale"] + params["norm"]["bias"]
    stats = {"norm": {"mean": np.zeros(3, "f4"), "var": np.ones(3, "f4")}}
    ours = layer.apply({"params": params, "batch_stats": stats}, x, train=False)
    np.testing.assert_allclose(ours, np.maximum(y, 0), atol=1e-4 * float(abs(y).max()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flat": 6}, r"flat=6: must be in \[0, 5\]"),
        ({"convs": 0}, "convs=0: must be at least 1"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        made(LWHCN(2, **fields), (1, 8, 8, 4, 1))
