"""Norms do what their equations say, whatever the dtype and the rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers import Norm

X = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 6, 5, 12))


def apply(norm: Norm, x=X, train: bool = True):
    variables = norm.init(jax.random.key(0), x, train=False)
    return norm.apply(variables, x, train=train, mutable=["batch_stats"])


@pytest.mark.parametrize(
    ("norm", "axes", "shape"),
    [
        (Norm("batch"), (0, 1, 2), X.shape),
        (Norm("instance"), (1, 2), X.shape),
        (Norm("group", groups=3), (1, 2, 4), (4, 6, 5, 3, 4)),
        (Norm("group"), (1, 2, 4), (4, 6, 5, 4, 3)),  # gcd(32, 12) groups
    ],
)
def test_the_normalised_have_mean_0_and_variance_1(norm, axes, shape):
    y = apply(norm)[0].reshape(shape)
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axes), 1, atol=1e-4)


def test_none_is_the_identity_and_has_no_parameters():
    assert (apply(Norm("none"))[0] == X).all()
    assert not Norm("none").init(jax.random.key(0), X, train=True)


def test_moments_are_exact_in_half_precision_and_far_from_zero():
    far = (1000 + jax.random.normal(jax.random.key(1), (2, 64, 64, 3))).astype(jnp.float32)
    np.testing.assert_allclose(apply(Norm("batch"), far)[0].var((0, 1, 2)), 1, atol=1e-3)
    y = apply(Norm("batch"), X.astype(jnp.bfloat16))[0]
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), apply(Norm("batch"))[0], atol=0.05)


def test_running_statistics_move_by_a_tenth():
    new = apply(Norm("batch"))[1]["batch_stats"]
    np.testing.assert_allclose(new["mean"], 0.1 * X.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(new["var"], 0.9 + 0.1 * X.var((0, 1, 2)), rtol=1e-5)


def test_prediction_uses_the_running_statistics_and_leaves_them():
    y, new = apply(Norm("batch"), train=False)
    np.testing.assert_allclose(y, X / np.sqrt(1 + 1e-5), rtol=1e-5)
    assert (new["batch_stats"]["mean"] == 0).all()


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(UserError, match="groups=5 does not divide 12 channels"):
        apply(Norm("group", groups=5))
