"""Activations with parameters, in every module that has an activation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from jaxseg.layers import (
    ConvNorm,
    DenseBlock,
    InvertedResidual,
    Norm,
    PreactivatedBlock,
    ResidualBlock,
    SeparableConv,
    SqueezeExcitation,
)
from jaxseg.models.r2unet import RecurrentConv

X = jnp.asarray(
    np.random.RandomState(0).standard_normal((2, 5, 4, 3)).astype("f4") - np.float32(0.2)
)
SLOPES = {"prelu": jnp.array([0.25, -0.5, 2.0]), "prelu_shared": jnp.array([0.3])}


@pytest.mark.parametrize("kind", SLOPES)
def test_a_slope_is_a_quarter_at_first(kind: str):
    slope = Norm("none", activation=kind).init(jax.random.key(0), X, train=True)["params"]["slope"]
    np.testing.assert_array_equal(slope, jnp.full_like(SLOPES[kind], 0.25))


@pytest.mark.parametrize("kind", SLOPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_and_gradients_are_those_of_the_formula(kind: str, dtype: str):
    norm, x = Norm("none", activation=kind), X.astype(dtype)
    above = jax.random.normal(jax.random.key(1), X.shape).astype(dtype)

    def apply(slope, x):
        return norm.apply({"params": {"slope": slope}}, x, train=True)

    y, back = jax.vjp(apply, SLOPES[kind], x)
    to_slope, to_x = back(above)
    assert y.dtype == to_x.dtype == x.dtype and to_slope.dtype == jnp.float32
    a, g = np.asarray(x, "f8"), np.asarray(above, "f8")
    slope = np.broadcast_to(np.asarray(SLOPES[kind], "f8"), a.shape)
    near = {"rtol": 2e-2 if dtype == "bfloat16" else 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(np.asarray(y, "f8"), np.where(a > 0, a, slope * a), **near)
    np.testing.assert_allclose(np.asarray(to_x, "f8"), np.where(a > 0, g, slope * g), **near)
    by_channel = np.where(a > 0, 0, a * g).sum((0, 1, 2))
    expected = by_channel if kind == "prelu" else [by_channel.sum()]
    near = {"rtol": 1e-2 if dtype == "bfloat16" else 1e-5, "atol": 1e-2}
    np.testing.assert_allclose(to_slope, expected, **near)


@pytest.mark.parametrize(
    ("module", "places"),
    [
        (ConvNorm(3, activation="prelu"), {"norm/slope": 3}),
        (ConvNorm(3, norm="none", activation="prelu_shared"), {"norm/slope": 1}),
        (ResidualBlock(3, activation="prelu"), {"conv1/norm/slope": 3, "slope": 3}),
        (PreactivatedBlock(3, activation="prelu"), {"norm1/slope": 3, "norm2/slope": 3}),
        (
            SeparableConv(4, before="prelu", between="prelu_shared", after="prelu"),
            {"slope": 3, "depthwise_norm/slope": 1, "pointwise_norm/slope": 4},
        ),
        (
            InvertedResidual(3, 6, activation="prelu"),
            {"expand_norm/slope": 6, "depthwise_norm/slope": 6},
        ),
        (DenseBlock(1, 2, activation="prelu"), {"layer0_norm/slope": 3}),
        (RecurrentConv(3, activation="prelu"), {"norm/slope": 3}),
        (SqueezeExcitation(1, activation="prelu"), {"slope": 3}),
    ],
)
def test_every_module_with_an_activation_trains_its_slopes(module, places: dict[str, int]):
    how = {} if isinstance(module, SqueezeExcitation) else {"train": True}
    variables = jax.jit(lambda: module.init(jax.random.key(1), X, **how))()
    mutable = ["batch_stats"]

    def total(params):
        y, _ = module.apply({**variables, "params": params}, X, **how, mutable=mutable)
        return (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum()

    gradient = traverse_util.flatten_dict(jax.jit(jax.grad(total))(variables["params"]), sep="/")
    slopes = {name: value for name, value in gradient.items() if name.endswith("slope")}
    assert {name: len(value) for name, value in slopes.items()} == places
    assert all(jnp.abs(value).max() > 0 for value in slopes.values())
