"""Samples of a network with dropout on: by hand, against evaluation, and through a predictor."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import inference, monte_carlo
from jaxseg.errors import UserError
from jaxseg.experiment import Evaluation
from jaxseg.layers import ChannelDropout, ConvNorm
from jaxseg.models import SegNet
from jaxseg.types import Prediction


class Coin(nn.Module):
    """Logits ``(drop(x), 0)``: with x = 2 and a rate of one half either 4 or 0."""

    rate: float = 0.5
    num_classes: int = 2
    stride: int = 1

    @nn.compact
    def __call__(self, image, *, train):
        x = nn.Dropout(self.rate, deterministic=not train, name="dropout")(image)
        return Prediction(jnp.concatenate([x, 0 * x], axis=-1))


class Normed(nn.Module):
    """A norm, then whole channels dropped."""

    rate: float
    num_classes: int = 4

    @nn.compact
    def __call__(self, image, *, train):
        x = ConvNorm(4, activation="none", name="conv")(image, train=train)
        return Prediction(1 + ChannelDropout(self.rate, name="dropout")(x, train=train))


TWO = jnp.asarray(np.full((1, 40, 50, 1), 2.0, "f4"))
X = jnp.asarray(np.random.RandomState(0).standard_normal((2, 8, 9, 3)).astype("f4"))


def test_mean_and_variance_are_those_of_a_coin():
    mean, variance = jax.jit(lambda: monte_carlo.mean_and_variance(Coin(), {}, TWO, samples=60))()
    head, tail = float(nn.sigmoid(4.0)), 0.5
    # over 2000 pixels and 60 samples; of n samples the variance is (n - 1) / n of the coin's
    assert abs(mean[..., 0].mean() - (head + tail) / 2) < 3e-3
    assert abs(variance[..., 0].mean() - 59 / 60 * ((head - tail) / 2) ** 2) < 1e-3
    np.testing.assert_allclose(mean.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(variance[..., 0], variance[..., 1], atol=1e-6)


def test_one_sample_has_no_variance_and_keys_are_other_samples():
    run = jax.jit(lambda k: monte_carlo.mean_and_variance(Coin(), {}, TWO, samples=1, key=k))
    (one, zero), (other, _) = run(jax.random.key(1)), run(jax.random.key(2))
    assert not zero.any() and (one != other).any()


def test_norms_are_as_in_evaluation_and_whole_channels_drop():
    variables = Normed(0.5).init(jax.random.key(0), X, train=False)
    variables["batch_stats"] = jax.tree.map(lambda a: a + 0.5, variables["batch_stats"])
    known = Normed(0.5).apply(variables, X, train=False).logits - 1
    sample = jax.jit(lambda v: monte_carlo.sample(Normed(0.5), v, X, jax.random.key(3)))
    found = sample(variables).logits - 1
    kept = np.asarray((found != 0).any((1, 2)))
    assert kept.any() and not kept.all()
    expected = 2 * known * kept[:, None, None]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("model", [Coin(0.0), SegNet(2, width=2)])
def test_a_network_that_drops_nothing_is_refused(model):
    x = jnp.zeros((1, 32, 32, 1))
    with pytest.raises(UserError, match="drops nothing, so all of its samples are the same"):
        jax.eval_shape(
            lambda: monte_carlo.sample(
                model, model.init(jax.random.key(0), x, train=False), x, jax.random.key(0)
            )
        )


def test_bayesian_segnet_drops_at_six_places():
    model, x = SegNet(2, width=2, dropout=0.5), jnp.zeros((1, 32, 32, 1))
    keys = []

    def count(call, args, kwargs, context):
        module = context.module
        if isinstance(module, nn.Dropout) and module.rate and module.name:
            keys.append(module.name)
        return call(*args, **kwargs)

    def run():
        variables = model.init(jax.random.key(0), x, train=False)
        with nn.intercept_methods(count):
            return monte_carlo.sample(model, variables, x, jax.random.key(0))

    jax.eval_shape(run)
    assert len(keys) == len(set(keys)) == 6


@pytest.mark.parametrize(("window", "tta", "passes"), [(None, False, 8), ((20, 25), True, 32)])
def test_a_window_has_the_mean_probability_of_its_samples_and_flips(window, tta, passes):
    tiles = Evaluation(window=window, overlap=0.0, tta=tta, dropout_samples=8).tiles
    size = jnp.asarray([[40, 50]])
    run = jax.jit(lambda x: inference.windowed(Coin(), {}, x, size, tiles))
    heads = nn.softmax(run(TWO))[..., 0]
    head, tail = float(nn.sigmoid(4.0)), 0.5
    counts = (np.asarray(heads) - tail) / (head - tail) * passes
    np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
    assert len(np.unique(counts.round())) > 4 and abs(counts.mean() / passes - 0.5) < 0.02
    np.testing.assert_array_equal(run(TWO), run(TWO))


def test_a_negative_number_of_samples_is_refused():
    with pytest.raises(UserError, match="evaluation.dropout_samples=-1: must be at least 0"):
        Evaluation(dropout_samples=-1)
    with pytest.raises(UserError, match="samples=0: must be at least 1"):
        monte_carlo.mean_and_variance(Coin(), {}, TWO, samples=0)
