"""Global attention upsample: counts of SMP's PAN, what the gate does, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.global_attention_upsample import GlobalAttentionUpsample


def test_the_layer_of_smp_has_its_parameters():
    layer = GlobalAttentionUpsample(gate="sigmoid", use_bias=True)
    low, high = jnp.ones((1, 8, 8, 1024)), jnp.ones((1, 4, 4, 32))
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), low, high, train=False))
    count = sum(a.size for a in jax.tree.leaves(variables["params"]))
    assert count == (32 * 32 + 32 + 64) + (9 * 1024 * 32 + 32 + 64)


def test_a_closed_gate_leaves_the_upsampled_map():
    layer = GlobalAttentionUpsample()
    low = jax.random.normal(jax.random.key(0), (1, 5, 7, 3))
    high = jax.random.normal(jax.random.key(1), (1, 5, 7, 2))
    init = jax.jit(lambda *x: layer.init(jax.random.key(2), *x, train=False))
    variables = init(low, high)
    variables["params"]["gate_norm"]["bias"] = jnp.full(2, -1e3)
    y = layer.apply(variables, low, high, train=False)
    np.testing.assert_array_equal(np.asarray(y), np.asarray(high))


def test_maps_of_different_rank_are_refused():
    layer = GlobalAttentionUpsample(name="gau")
    with pytest.raises(UserError, match="GlobalAttentionUpsample gau: .* number of axes"):
        layer.init(
            jax.random.key(0), jnp.ones((1, 4, 4, 2)), jnp.ones((1, 2, 2, 2, 2)), train=False
        )
