"""Spatial-reduction attention; numbers of PyTorch: test_attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.spatial_reduction import SpatialReductionAttention

KEY = jax.random.key(0)


def test_it_has_the_parameters_of_mit_b0():
    x = jnp.zeros((1, 16, 16, 32))
    made = jax.eval_shape(lambda: SpatialReductionAttention(1, 8).init(KEY, x, train=False))
    assert jax.tree.map(lambda a: a.shape, made["params"]) == {
        "query": {"kernel": (1, 1, 32, 32), "bias": (32,)},
        "key_value": {"kernel": (1, 1, 32, 64), "bias": (64,)},
        "out": {"kernel": (1, 1, 32, 32), "bias": (32,)},
        "reduce": {"kernel": (8, 8, 32, 32), "bias": (32,)},
        "norm": {"scale": (32,), "bias": (32,)},
    }


def test_rows_that_do_not_fill_a_block_of_the_reduction_are_queries_but_no_keys():
    x = jax.random.normal(KEY, (1, 9, 8, 8))
    layer = SpatialReductionAttention(2, 4)
    variables = layer.init(KEY, x, train=False)
    moved = layer.apply(variables, x.at[:, 8].add(1.0), train=False)
    still = layer.apply(variables, x, train=False)
    np.testing.assert_array_equal(moved[:, :8], still[:, :8])
    assert float(abs(moved[:, 8] - still[:, 8]).max()) > 1e-3


def test_dropout_needs_an_rng_only_in_training():
    x = jax.random.normal(KEY, (1, 4, 4, 8))
    layer = SpatialReductionAttention(2, dropout=0.5)
    variables = layer.init(KEY, x, train=False)
    y = layer.apply(variables, x, train=True, rngs={"dropout": KEY})
    assert float(abs(y - layer.apply(variables, x, train=False)).max()) > 1e-3


def test_heads_and_reductions_that_do_not_fit_are_refused():
    x = jnp.zeros((1, 4, 6, 8))
    with pytest.raises(UserError, match="heads=3 does not divide 8 channels; 2 does"):
        SpatialReductionAttention(3).init(KEY, x, train=False)
    with pytest.raises(UserError, match=r"reduction=8 leaves nothing of size \(4, 6\); at most 4"):
        SpatialReductionAttention(1, 8).init(KEY, x, train=False)
