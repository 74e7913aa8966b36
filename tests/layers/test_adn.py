"""Activation, dropout and norm in any order; a convolution before them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers import ADN, ConvADN, Norm

X = jnp.asarray(np.random.RandomState(0).standard_normal((2, 5, 4, 3)).astype("f4"))


def run(module, train=False, **rngs):
    variables = module.init(
        {"params": jax.random.key(0), "dropout": jax.random.key(1)}, X, train=False
    )
    return module.apply(variables, X, train=train, rngs=rngs)


def test_the_order_of_norm_and_activation_is_kept():
    normed = run(Norm("instance", affine=False))
    np.testing.assert_allclose(run(ADN(activation="relu")), jnp.maximum(normed, 0), atol=1e-6)
    late = ADN(activation="leaky_relu", negative_slope=0.1, order="ADN")
    leaky = jnp.where(X > 0, X, 0.1 * X)
    instance = (leaky - leaky.mean((1, 2), keepdims=True)) / jnp.sqrt(
        leaky.var((1, 2), keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(run(late), instance, atol=1e-5)


@pytest.mark.parametrize(("order", "zeros"), [("NDA", True), ("DNA", False)])
def test_dropout_stands_where_its_letter_does(order, zeros):
    module = ADN(activation="none", dropout=0.5, order=order)
    dropped = run(module, True, dropout=jax.random.key(3))
    assert bool((dropped == 0).any()) == zeros  # a norm behind it moves the zeros
    np.testing.assert_allclose(run(module), run(ADN(activation="none")))


def test_all_fields_of_the_norm_are_its():
    variables = ADN("group", groups=3, affine=True).init(jax.random.key(0), X, train=False)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes == {"norm": {"scale": (3,), "bias": (3,)}, "slope": (1,)}
    with pytest.raises(UserError, match="groups=2 does not divide 3 channels"):
        run(ADN("group", groups=2))


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"stride": (2, 3)}, (3, 2)),
        ({"stride": (2, 3), "transposed": True}, (10, 12)),
        ({}, (5, 4)),
    ],
)
def test_a_convolution_divides_or_multiplies_the_size_by_its_stride(fields, size):
    assert run(ConvADN(6, kernel_size=(3, 5), **fields)).shape == (2, *size, 6)


def test_an_even_kernel_is_refused():
    with pytest.raises(UserError, match="kernel_size=4: must be odd"):
        run(ConvADN(6, kernel_size=4))
