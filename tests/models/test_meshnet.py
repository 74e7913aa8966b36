"""MeshNet: parameters of the authors' networks, and how far a pixel sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.layers import ADN
from jaxseg.models.meshnet import MeshNet

ATLAS = MeshNet(104, width=71, dilations=(1, 1, 1, 2, 4, 8, 1))
GREY_WHITE = MeshNet(3, 11, (1, 2, 4, 8, 4, 2, 2, 1), ADN("none", "relu"))


def shapes(model, size=(8, 8, 8)):
    x = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)


@pytest.mark.parametrize(
    ("model", "convs", "norms"),
    [
        (MeshNet(3), 27 * 21 + 21 + 6 * (27 * 21**2 + 21) + 21 * 3 + 3, 7 * 2 * 21),
        (ATLAS, 27 * 71 + 71 + 6 * (27 * 71**2 + 71) + 71 * 104 + 104, 7 * 2 * 71),
        (GREY_WHITE, 23_290, 0),
    ],
)
def test_it_has_the_parameters_of_its_layers(model, convs, norms):
    assert cost.parameters(shapes(model)) == convs + norms


def test_a_pixel_sees_the_sum_of_the_dilations_on_each_side():
    model = MeshNet(2, width=2, dilations=(1, 3, 2), after=ADN("none", "none"))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, "f4"), shapes(model, (17,)))
    one = jax.jit(jax.grad(lambda x: model.apply(variables, x, train=False).logits[0, 8, 0]))
    seen = one(jnp.zeros((1, 17, 1)))
    np.testing.assert_array_equal(np.flatnonzero(seen), np.arange(2, 15))


@pytest.mark.parametrize("dilations", [(), (1, 0), (2, -1)])
def test_dilations_that_are_none_are_refused(dilations):
    with pytest.raises(UserError, match="MeshNet.dilations=.*at least 1 each"):
        shapes(MeshNet(2, dilations=dilations))
