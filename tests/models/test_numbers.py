"""What holds of every network by numbers: one compiled program a network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.types import at_dtype
from tests.models.cases import CHANNELS, FIRST


@functools.cache
def variables(model, size):
    """Random ones, off the special values (scale 1, bias 0, mean 0) of an untrained network."""
    x, random = jnp.zeros((1, *size, CHANNELS)), np.random.RandomState(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))

    def draw(leaf):
        a = random.standard_normal(leaf.shape)
        a = a / np.sqrt(a.size / a.shape[-1]) if a.ndim > 1 else 1 + 0.1 * abs(a)
        return np.asarray(a, np.float32)

    return jax.tree.map(draw, shapes)


def program(model):
    """Float32 and bfloat16 predictions, and the gradient of a training step, in one program."""

    @jax.jit
    def run(v, x):
        def loss(params):
            prediction, _ = model.apply(
                v | {"params": params},
                x,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(3)},
            )
            targets = [jnp.arange(a.size).reshape(a.shape) % 3 for a in jax.tree.leaves(prediction)]
            pairs = zip(jax.tree.leaves(prediction), targets, strict=True)
            return sum(jnp.square(a - t).sum() for a, t in pairs)

        exact = model.apply(v, x, train=False)
        half = at_dtype(model, "bfloat16").apply(v, x, train=False)
        return exact, half, jax.grad(loss)(v["params"])

    return run


@pytest.mark.parametrize(("model", "case"), FIRST.values(), ids=FIRST)
def test_a_network_keeps_the_contract_in_numbers(model, case):
    v, run = variables(model, case.size), program(model)
    x = np.random.RandomState(1).uniform(size=(2, *case.size, CHANNELS)).astype("f4")
    exact, half, gradient = jax.device_get(run(v, x))  # of arrays on the host no check compiles

    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(half), strict=True):
        assert b.dtype == np.float32
        off = abs(a - b).mean() if case.unpools else abs(a - b).max()
        assert off <= 0.05 * abs(a).max(), "bfloat16 is far from float32"

    for path, g in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(g).all(), path
        assert abs(g).max() > 0, f"the gradient does not reach {path}"

    beside_another, _, _ = jax.device_get(run(v, np.stack([x[0], 3 * x[1] + 1])))
    jax.tree.map(  # the row beside it changes nothing
        lambda a, b: np.testing.assert_array_equal(a[0], b[0]), exact, beside_another
    )
    assert abs(exact.logits[1] - beside_another.logits[1]).max() > 0
