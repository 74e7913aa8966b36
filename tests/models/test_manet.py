"""MA-Net: segmentation_models_pytorch's numbers, the paper's attention, its levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.models.manet import MANet, PositionAttention


def shapes(model):
    x = jnp.zeros((1, 32, 32, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]


def test_a_position_attends_to_all_by_a_softmax_of_its_own():
    layer = PositionAttention(2)
    x = jax.random.normal(jax.random.key(0), (1, 3, 4, 5))

    @jax.jit
    def both(x):
        y, variables = layer.init_with_output(jax.random.key(1), x)
        conv = lambda name, x, size: jax.lax.conv_general_dilated(  # noqa: E731
            x,
            variables["params"][name]["kernel"],
            (1, 1),
            [(size // 2,) * 2] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        query, key = (conv(name, x, 1).reshape(12, 2) for name in ("query", "key"))
        value = conv("value", x, 3).reshape(12, 5)
        weights = jax.nn.softmax(query @ key.T, axis=1)
        return y, conv("out", x + (weights @ value).reshape(x.shape), 3)

    ours, wanted = both(x)
    np.testing.assert_allclose(ours, wanted, atol=1e-5)


def test_an_encoder_of_fewer_levels_has_the_first_alone_and_one_of_more_is_refused():
    model = MANet(2, encoder=ResNet(10, width=4), widths=(9, 8, 7, 6, 5))
    params = shapes(model)
    found = [params[f"level{i}_conv2"]["conv"]["kernel"].shape[-1] for i in (4, 3, 2, 1, 0)]
    assert found == [9, 8, 7, 6, 5] and "level0_up_conv1" not in params
    with pytest.raises(UserError, match=r"widths=\(9, 8\): 2 levels where .* make 5; give one"):
        shapes(model.clone(widths=(9, 8)))
