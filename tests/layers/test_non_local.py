"""Non-local blocks; numbers of PyTorch: test_attention."""

import jax
import numpy as np
import pytest

from jaxseg.cost import macs
from jaxseg.errors import UserError
from jaxseg.layers.non_local import NonLocal

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (2, 6, 4, 8))


@pytest.mark.parametrize("pairing", ["embedded_gaussian", "dot_product"])
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_training_begins_at_the_identity(pairing, norm):
    y, _ = NonLocal(pairing=pairing, norm=norm).init_with_output(KEY, X, train=False)
    np.testing.assert_array_equal(y, X)


def test_dot_products_cost_in_proportion_to_the_number_of_pixels():
    layer = NonLocal(pairing="dot_product", norm="none")
    variables = layer.init(KEY, X, train=False)

    def cost(side: int) -> int:
        x = jax.ShapeDtypeStruct((1, side, side, 8), "float32")
        return macs(lambda x: layer.apply(variables, x, train=False), x)

    assert cost(32) == 4 * cost(16)


def test_a_pool_that_leaves_no_pixel_is_refused():
    with pytest.raises(UserError, match=r"pool=5 leaves nothing of size \(6, 4\); at most 4 does"):
        NonLocal(pool=5).init(KEY, X, train=False)
