"""Reversible blocks; their numbers stand in test_blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.layers.conv import Conv
from jaxseg.layers.reversible import PreactivatedConv, ReversibleSequence


class Noisy(nn.Module):
    """A branch with dropout."""

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = jnp.tanh(Conv(x.shape[-1], name="conv")(x))
        return nn.Dropout(0.5, name="dropout")(x, deterministic=not train)


class Wave(nn.Module):
    """A branch in the dtype of its input throughout, float64 too."""

    @nn.compact
    def __call__(self, x, *, train: bool):
        return jnp.sin(Conv(x.shape[-1], name="conv")(x))


def plain(layer: ReversibleSequence, params, x, **fields):
    """The equations as they stand, differentiated by JAX."""
    first, second = jnp.split(x, 2, axis=-1)
    for i in range(layer.blocks):
        f, g = ({"params": params[f"block{i}_{role}"]} for role in "fg")
        first = first + layer.branch.apply(f, second, **fields)
        second = second + layer.branch.apply(g, first, **fields)
    return jnp.concatenate([first, second], axis=-1)


def gradients(function, params, x):
    def total(params, x):
        y = function(params, x)
        return jnp.sum(jnp.sin(y) * jnp.cos(jnp.arange(y.size).reshape(y.shape))), y

    return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(params, x)


def test_in_float64_gradients_are_those_of_the_plain_form_to_twelve_digits():
    with jax.enable_x64(True):
        layer = ReversibleSequence(Wave(), blocks=6)
        x = jax.random.normal(jax.random.key(0), (2, 5, 4, 6), "float64")
        params = layer.init(jax.random.key(1), x, train=True)["params"]
        params = jax.tree.map(lambda a: a.astype("float64"), params)
        ours = gradients(lambda p, x: layer.apply({"params": p}, x, train=True), params, x)
        theirs = gradients(lambda p, x: plain(layer, p, x, train=True), params, x)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert a.dtype == jnp.float64
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * float(abs(b).max()))


@pytest.mark.parametrize("size", [(6, 5), (3, 4, 5)])
def test_in_float32_gradients_through_many_blocks_are_close(size: tuple[int, ...]):
    layer = ReversibleSequence(PreactivatedConv(groups=2), blocks=8 if len(size) == 2 else 2)
    x = jax.random.normal(jax.random.key(0), (2, *size, 8))
    params = jax.jit(lambda: layer.init(jax.random.key(1), x, train=True))()["params"]
    ours = gradients(lambda p, x: layer.apply({"params": p}, x, train=True), params, x)
    theirs = gradients(lambda p, x: plain(layer, p, x, train=True), params, x)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * float(abs(b).max()))


def test_what_the_backward_pass_needs_does_not_grow_with_the_blocks():
    x = jnp.ones((2, 8, 8, 4))

    def kept(blocks: int, reversible: bool) -> int:
        layer = ReversibleSequence(PreactivatedConv(), blocks=blocks)
        params = jax.eval_shape(lambda: layer.init(jax.random.key(1), x, train=True))["params"]

        def residuals(params, x):
            if reversible:
                return jax.vjp(lambda x: layer.apply({"params": params}, x, train=True), x)[1]
            return jax.vjp(lambda x: plain(layer, params, x, train=True), x)[1]

        leaves = jax.tree.leaves(jax.eval_shape(residuals, params, x))
        of_params = sum(a.size for a in jax.tree.leaves(params))
        return sum(a.size for a in leaves) - of_params * reversible  # those are there anyway

    assert kept(8, True) == kept(1, True) == x.size
    assert kept(8, False) > 4 * kept(1, False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_memory_of_a_compiled_training_step_does_not_grow_with_the_blocks(dtype: str):
    # Of one sequence alone XLA:CPU happens to find an order that keeps little, loop or not.
    stem, x = Conv(16, name="stem"), jnp.ones((1, 32, 32, 1), dtype)

    def maps(blocks: int) -> float:
        """Temporaries of the gradient, in float32 maps of the sequence."""
        layer = ReversibleSequence(PreactivatedConv(groups=2), blocks=blocks)

        def init(x):
            y, made = stem.init_with_output(jax.random.key(0), x)
            return made, layer.init(jax.random.key(1), y, train=True)

        def total(variables, x):
            y = stem.apply(variables[0], x)
            for _ in range(2):
                y = layer.apply(variables[1], y, train=True)
            return jnp.square(y.astype(jnp.float32)).sum()

        compiled = jax.jit(jax.grad(total)).lower(jax.eval_shape(init, x), x).compile()
        return compiled.memory_analysis().temp_size_in_bytes / (16 * 4 * x.size)

    assert maps(4) < maps(1) + 1  # parameters and their gradients are half a map


def test_running_moments_move_once_and_as_without_reversing():
    layer = ReversibleSequence(PreactivatedConv(norm="batch"), blocks=1)
    x = 2 + jax.random.normal(jax.random.key(0), (4, 5, 4, 6))
    variables = layer.init(jax.random.key(1), x, train=True)
    assert set(variables["batch_stats"]) == {"block0_f", "block0_g"}

    @jax.jit
    def step(variables, x):
        def total(params):
            y, new = layer.apply(
                variables | {"params": params}, x, train=True, mutable="batch_stats"
            )
            return jnp.square(y).sum(), new

        return jax.grad(total, has_aux=True)(variables["params"])[1]

    moments = step(variables, x)["batch_stats"]["block0_f"]["norm"]
    second = x[..., 3:]  # what F sees
    np.testing.assert_allclose(moments["mean"], 0.1 * second.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(moments["var"], 0.9 + 0.1 * second.var((0, 1, 2)), rtol=1e-5)


def test_dropout_draws_the_same_in_both_passes_and_anew_for_each_branch():
    layer = ReversibleSequence(Noisy(), blocks=2)
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 6))
    params = layer.init(jax.random.key(1), x, train=False)["params"]

    def value(params, x):
        rngs = {"dropout": jax.random.key(2)}
        return layer.apply({"params": params}, x, train=True, rngs=rngs)

    check_grads(jax.jit(value), (params, x), order=1, modes=["rev"], rtol=2e-2)
    # Only the biases are left: after two blocks a number has been kept by none, one or both.
    ones = jax.tree.map(lambda a: jnp.full_like(a, a.ndim == 1), params)
    half = value(ones, jnp.zeros_like(x))[..., :3]
    np.testing.assert_allclose(np.unique(half), jnp.tanh(1.0) * np.arange(0.0, 5.0, 2), rtol=1e-5)


def test_without_training_dropout_is_off_and_needs_no_generator():
    layer = ReversibleSequence(Noisy(), blocks=2)
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 6))
    params = layer.init(jax.random.key(1), x, train=False)["params"]
    y = layer.apply({"params": params}, x, train=False)
    np.testing.assert_allclose(y, plain(layer, params, x, train=False), atol=1e-6)


def test_in_bf16_running_backwards_adds_no_error_to_that_of_bf16_branches():
    layer = ReversibleSequence(PreactivatedConv(groups=2), blocks=4)
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 8))
    params = jax.jit(lambda: layer.init(jax.random.key(1), x, train=True))()["params"]

    def theirs(params, x):  # bf16 branches of float32 halves, differentiated by JAX
        first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
        for i in range(layer.blocks):
            f, g = ({"params": params[f"block{i}_{role}"]} for role in "fg")
            first = first + layer.branch.apply(f, second.astype(x.dtype), train=True)
            second = second + layer.branch.apply(g, first.astype(x.dtype), train=True)
        return jnp.concatenate([first, second], axis=-1).astype(x.dtype)

    def flat(function, x):
        found = gradients(lambda p, x: function(p, x).astype(jnp.float32), params, x)[0][0]
        return np.concatenate([np.ravel(a) for a in jax.tree.leaves(found)])

    half = x.astype(jnp.bfloat16)
    ours = flat(lambda p, x: layer.apply({"params": p}, x, train=True), half)
    same, exact = flat(theirs, half), flat(theirs, x)
    assert np.linalg.norm(ours - same) < 1e-3 * np.linalg.norm(same)
    assert np.linalg.norm(ours - exact) < 0.1 * np.linalg.norm(exact)


def test_the_parameters_are_those_of_the_partially_reversible_unets_first_level():
    layer = ReversibleSequence(PreactivatedConv(groups=30))
    x = jnp.zeros((1, 2, 2, 2, 60))
    made = jax.eval_shape(lambda: layer.init(jax.random.key(0), x, train=True))
    assert cost.parameters(made) == 2 * (27 * 30 * 30 + 2 * 30)


class Doubling(nn.Module):
    """A branch that does not keep the shape."""

    @nn.compact
    def __call__(self, x, *, train: bool):
        return jnp.concatenate([x, x], axis=-1)


def test_odd_channels_and_a_branch_that_changes_the_shape_are_refused():
    with pytest.raises(UserError, match="5 channels have no two halves; use 6"):
        ReversibleSequence().init(jax.random.key(0), jnp.zeros((1, 4, 4, 5)), train=True)
    with pytest.raises(UserError, match=r"makes \(1, 4, 4, 4\) of \(1, 4, 4, 2\)"):
        ReversibleSequence(Doubling()).init(jax.random.key(0), jnp.zeros((1, 4, 4, 4)), train=True)
