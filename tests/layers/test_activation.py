"""Activations with parameters, wherever a module takes one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers import (
    Conv,
    ConvNorm,
    DenseBlock,
    Norm,
    PreactivatedBlock,
    ResidualBlock,
    SeparableConv,
)

X = jax.random.normal(jax.random.key(0), (2, 6, 5, 4))


@pytest.mark.parametrize(("kind", "shape"), [("prelu", (4,)), ("prelu_shared", (1,))])
def test_prelu_and_its_gradients_are_those_of_the_formula(kind, shape):
    layer = Norm("none", activation=kind)
    variables = layer.init(jax.random.key(0), X, train=False)
    np.testing.assert_array_equal(variables["params"]["slope"], np.full(shape, 0.25))
    slope = jnp.linspace(-0.5, 0.5, shape[0])

    def loss(slope, x):
        y = layer.apply({"params": {"slope": slope}}, x, train=True)
        return (y * jnp.arange(y.size).reshape(y.shape)).sum(), y

    (_, y), (to_slope, to_x) = jax.value_and_grad(loss, (0, 1), has_aux=True)(slope, X)
    weights = np.arange(X.size).reshape(X.shape)
    x, slopes = np.asarray(X), np.asarray(slope)
    np.testing.assert_allclose(y, np.where(x > 0, x, slopes * x), rtol=1e-6)
    np.testing.assert_allclose(to_x, np.where(x > 0, 1, slopes) * weights, rtol=1e-6)
    wanted = np.where(x > 0, 0, x * weights).sum((0, 1, 2))
    wanted = wanted if kind == "prelu" else wanted.sum(keepdims=True)
    np.testing.assert_allclose(to_slope, wanted, rtol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        Norm("instance", activation="prelu"),
        ConvNorm(6, activation="prelu"),
        ResidualBlock(6, activation="prelu"),
        PreactivatedBlock(6, activation="prelu_shared"),
        SeparableConv(6, before="prelu", between="prelu", after="prelu"),
        DenseBlock(2, 3, activation="prelu"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_slope_learns_in_every_module_that_takes_an_activation(layer):
    variables = layer.init(jax.random.key(1), X, train=False)

    def loss(params):
        y, _ = layer.apply(variables | {"params": params}, X, train=True, mutable=["batch_stats"])
        return jnp.square(y - 1).sum()

    leaves = jax.tree_util.tree_leaves_with_path(jax.grad(loss)(variables["params"]))
    slopes = [g for path, g in leaves if path[-1].key == "slope"]
    assert slopes and all(abs(g).max() > 0 for g in slopes)


def test_a_conv_norm_hands_on_epsilon_and_momentum():
    layer = ConvNorm(3, epsilon=0.5, momentum=0.75, activation="none")
    variables = layer.init(jax.random.key(1), X, train=False)
    kernel = {"params": variables["params"]["conv"]}
    plain = np.asarray(Conv(3, use_bias=False).apply(kernel, X))
    y, updated = layer.apply(variables, X, train=True, mutable=["batch_stats"])
    mean, var = plain.mean((0, 1, 2)), plain.var((0, 1, 2))
    np.testing.assert_allclose(y, (plain - mean) / np.sqrt(var + 0.5), atol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["norm"]["mean"], 0.25 * mean, atol=1e-6)
