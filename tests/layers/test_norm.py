"""Norms do what their equations say, whatever the dtype and the rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers import Norm
from jaxseg.ops.normalise import How, normalise

X = jnp.asarray(3 + 2 * np.random.RandomState(0).standard_normal((4, 6, 5, 12)).astype("f4"))


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


def test_moments_are_exact_in_half_precision_and_far_from_zero(platform):
    far = (1000 + jax.random.normal(jax.random.key(1), (2, 64, 64, 3))).astype(jnp.float32)
    np.testing.assert_allclose(apply(Norm("batch"), far)[0].var((0, 1, 2)), 1, atol=1e-3)
    y = apply(Norm("batch"), X.astype(jnp.bfloat16))[0]
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), apply(Norm("batch"))[0], atol=0.05)


def test_a_lone_pixel_far_from_a_flat_image_leaves_no_negative_variance(platform):
    x = jnp.full((1, 256, 256, 1), 3e4).at[0, 128, 128, 0].set(-3e4)
    y, new = apply(Norm("batch"), x)
    assert jnp.isfinite(y).all() and (new["batch_stats"]["var"] > 0).all()


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


def equations(how: How, x, scale, bias):
    """The definition, for XLA to derive."""
    split = x.reshape(*x.shape[:3], how.groups, -1)
    axes = (0, 1, 2, 4) if how.over_batch else (1, 2, 4)
    moments = split.mean(axes, keepdims=True), split.var(axes, keepdims=True)
    mean, var = (
        jnp.broadcast_to(m, (len(m), 1, 1, *split.shape[3:])).reshape(-1, x.shape[-1])
        for m in moments
    )
    wide_mean, wide_var, scale, bias = (a[:, None, None] for a in (mean, var, scale, bias))
    y = (x - wide_mean) / jnp.sqrt(wide_var + how.epsilon) * scale + bias
    return (jax.nn.relu(y) if how.relu else y), mean, var


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("over_batch", [True, False])
@pytest.mark.parametrize("groups", [12, 3])
def test_the_fused_form_is_the_equations_with_their_derivative(relu, over_batch, groups, platform):
    how = How(over_batch, groups, 1e-5, relu)
    keys = jax.random.split(jax.random.key(1), 2)
    scale, bias = (jax.random.normal(key, (1, 12)) for key in keys)

    @jax.jit
    def total(x, scale, bias):
        return [jax.value_and_grad(loss, (0, 1, 2))(x, scale, bias) for loss in losses]

    def of(form):
        def loss(x, scale, bias):
            y, mean, var = form(how, x, scale, bias)
            return (jnp.sin(y) * y).sum() + jnp.sin(mean).sum() + jnp.square(var).sum()

        return loss

    fused = lambda how, *given: normalise(*given, how)  # noqa: E731
    losses = [of(fused), of(equations)]
    ours, theirs = total(X, scale, bias)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * float(abs(b).max()))


def test_without_affine_there_are_no_parameters():
    norm = Norm("instance", affine=False)
    assert not norm.init(jax.random.key(0), X, train=True)
    np.testing.assert_allclose(apply(norm)[0], apply(Norm("instance"))[0], atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu"])
def test_the_activation_comes_last(activation):
    from jaxseg.ops import activate

    expected = activate(apply(Norm("batch"))[0], activation)
    np.testing.assert_allclose(apply(Norm("batch", activation=activation))[0], expected, atol=1e-6)


def test_statistics_of_the_batch_are_taken_in_evaluation_too():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    layer = Norm(statistics="batch")
    variables = layer.init(jax.random.key(1), x, train=False)
    assert jax.tree.leaves(variables["batch_stats"])
    trained, _ = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(layer.apply(variables, x, train=False), trained)
