"""Non-local blocks; numbers of PyTorch: test_attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.cost import macs
from jaxseg.errors import UserError
from jaxseg.layers.non_local import GlobalAggregation, NonLocal

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


@pytest.mark.parametrize(
    ("size", "expected"), [("same", (5, 4)), ("down", (3, 2)), ("up", (10, 8))]
)
@pytest.mark.parametrize("rank", [2, 3])
def test_the_query_sets_the_size(size, expected, rank):
    x = jnp.zeros((1, *(5, 4, 4)[:rank], 8))
    layer = GlobalAggregation(6, size, heads=2, width=4)
    y, variables = layer.init_with_output(KEY, x, train=False)
    assert y.shape == (1, *(*expected, expected[-1])[:rank], 6)
    assert variables["params"]["out"]["kernel"].shape[-2:] == (4, 6)


def test_dropout_acts_in_training_only_and_follows_its_rng():
    layer = GlobalAggregation(8, dropout=0.5)
    variables = layer.init(KEY, X, train=False)
    apply = jax.jit(
        lambda seed: layer.apply(variables, X, train=True, rngs={"dropout": jax.random.key(seed)})
    )
    still = layer.apply(variables, X, train=False)
    np.testing.assert_array_equal(apply(1), apply(1))
    assert float(abs(apply(1) - apply(2)).max()) > 1e-3
    assert float(abs(apply(1) - still).max()) > 1e-3


def test_heads_and_pools_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="heads=3 does not divide the width 8; 2 does"):
        GlobalAggregation(8, heads=3).init(KEY, X, train=False)
    with pytest.raises(UserError, match=r"pool=5 leaves nothing of size \(6, 4\); at most 4 does"):
        NonLocal(pool=5).init(KEY, X, train=False)
