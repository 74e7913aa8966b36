"""CBAM; numbers of PyTorch: test_attention."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.cbam import CBAM


@pytest.mark.parametrize(("channels", "count"), [(64, 680), (256, 8564)])
def test_counts_are_those_of_the_released_code(channels: int, count: int):
    x = jnp.zeros((1, 8, 8, channels))
    shapes = jax.eval_shape(lambda: CBAM().init(jax.random.key(0), x, train=False))
    assert sum(a.size for a in jax.tree.leaves(shapes["params"])) == count


def test_the_spatial_norm_remembers_99_hundredths_of_what_it_was():
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 16))
    variables = CBAM().init(jax.random.key(0), x, train=False)
    old = jax.tree.map(lambda a: a + 100, variables["batch_stats"])
    variables = {**variables, "batch_stats": old}
    _, new = CBAM().apply(variables, x, train=True, mutable=["batch_stats"])
    mean = float(new["batch_stats"]["spatial_norm"]["mean"][0])
    assert abs(mean - 99) < 0.2


def test_the_paper_has_no_norm_and_no_statistics():
    x = jnp.zeros((1, 4, 4, 16))
    assert set(CBAM(norm="none").init(jax.random.key(0), x, train=True)) == {"params"}


def test_a_reduction_that_leaves_no_channel_is_refused():
    with pytest.raises(UserError, match="CBAM .*reduction=16 leaves none of 8 channels"):
        CBAM().init(jax.random.key(0), jnp.zeros((1, 4, 4, 8)), train=False)
