import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy, DeepSupervision, Dice
from jaxseg.losses.deep_supervision import nearest
from jaxseg.types import IGNORE, Prediction


def some(*sizes: tuple[int, ...]) -> tuple[list, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = [jax.numpy.asarray(rng.normal(size=(2, *s, 3)), np.float32) for s in sizes]
    return logits, rng.integers(-1, 3, (2, *sizes[0])).astype(np.int32)


def jitted(supervision: DeepSupervision, loss):
    """Compiled: op by op it takes seconds."""
    return jax.jit(lambda prediction, *given, **more: supervision(loss, prediction, *given, **more))


def test_without_auxiliary_it_is_the_loss_itself():
    (logits,), label = some((8, 8))
    valid, weights = np.array([True, False]), np.full((2, 8, 8), 2.0, np.float32)
    for loss in (CrossEntropy(), Dice()):
        got = jitted(DeepSupervision(), loss)(
            Prediction(logits), label, valid=valid, weights=weights
        )
        np.testing.assert_array_equal(
            got, jax.jit(loss)(logits, label, valid=valid, weights=weights)
        )


@pytest.mark.parametrize(
    "supervision, shares",
    [
        (DeepSupervision(), (4 / 7, 2 / 7, 1 / 7)),
        (DeepSupervision(normalise=False), (1, 1 / 2, 1 / 4)),
        (DeepSupervision(weights=(1.0, 0.5, 0.0)), (2 / 3, 1 / 3, 0)),
        (DeepSupervision(weights=(1.0, 1.0, 1.0)), (1 / 3, 1 / 3, 1 / 3)),
        (DeepSupervision(weights=(0.0, 3.0, 1.0), normalise=False), (0, 3, 1)),
    ],
)
@pytest.mark.parametrize("size", [(8, 8), (8, 8, 8)])
def test_heads_are_weighted_by_their_depth(supervision, shares, size):
    halves = [tuple(n // f for n in size) for f in (1, 2, 4)]
    heads, label = some(*halves)
    prediction = Prediction(heads[0], auxiliary=tuple(heads[1:]))
    labels = [label[(slice(None), *(slice(f // 2, None, f),) * len(size))] for f in (1, 2, 4)]
    terms = [jax.jit(CrossEntropy())(*pair) for pair in zip(heads, labels, strict=True)]
    expected = sum(share * term for share, term in zip(shares, terms, strict=True))
    got = jitted(supervision, CrossEntropy())(prediction, label)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_head_without_weight_is_not_computed():
    heads, label = some((8, 8), (4, 4))
    seen = []

    class Seeing:
        weight = 1.0

        def __call__(self, logits, label, **given):
            seen.append(logits.shape)
            return CrossEntropy()(logits, label, **given)

    for weights, size in (((1.0, 0.0), (2, 8, 8, 3)), ((0.0, 1.0), (2, 4, 4, 3))):
        supervision = DeepSupervision(weights=weights)
        jitted(supervision, Seeing())(Prediction(heads[0], (heads[1],)), label)
        assert seen == [size]
        seen.clear()


@pytest.mark.parametrize("weights, n", [((1.0,), 1), ((1.0, 0.5, 0.25), 3)])
def test_weights_for_another_number_of_heads_are_refused(weights, n):
    heads, label = some((8, 8), (4, 4))
    message = f"DeepSupervision.weights has {n} numbers, but the network 2 heads"
    with pytest.raises(UserError, match=message):
        DeepSupervision(weights=weights)(Dice(), Prediction(heads[0], (heads[1],)), label)


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -0.5), (float("inf"), 1.0)])
def test_weights_of_nothing_are_refused(weights):
    with pytest.raises(UserError, match=r"DeepSupervision\.weights=\(.*: must be numbers of at"):
        DeepSupervision(weights=weights)


def test_auxiliary_logits_of_full_size_see_the_whole_label():
    (first, second), label = some((6, 6), (6, 6))
    got = jitted(DeepSupervision(), Dice())(Prediction(first, auxiliary=(second,)), label)
    expected = (2 * jax.jit(Dice())(first, label) + jax.jit(Dice())(second, label)) / 3
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_weights_and_valid_reach_every_head():
    (fine, coarse), label = some((8, 8), (4, 4))
    weights = np.zeros(label.shape, np.float32)
    prediction = Prediction(fine, auxiliary=(coarse,))
    assert np.all(jitted(DeepSupervision(), Dice())(prediction, label, weights=weights) == 0)
    valid = np.array([False, True])
    got = jitted(DeepSupervision(), Dice())(prediction, label, valid=valid)
    assert got[0] == 0 and got[1] > 0


def test_nearest_takes_the_pixel_under_the_centre():
    x = np.arange(6)[None]
    assert nearest(x, (3,)).tolist() == [[1, 3, 5]]  # centres 1, 3, 5
    assert nearest(x, (2,)).tolist() == [[1, 4]]  # centres 1.5, 4.5
    assert nearest(x, (4,)).tolist() == [[0, 2, 3, 5]]  # centres 0.75, 2.25, 3.75, 5.25
    assert nearest(x[:, :3], (6,)).tolist() == [[0, 0, 1, 1, 2, 2]]


def test_nearest_keeps_labels_and_ignore():
    _, label = some((9, 7, 5))
    small = nearest(label, (4, 3, 2))
    assert small.shape == (2, 4, 3, 2) and set(np.unique(small)) <= {IGNORE, 0, 1, 2}


def test_logits_of_another_rank_are_refused():
    (logits,), _ = some((8, 8))
    with pytest.raises(Exception, match="shape|spatial"):
        DeepSupervision()(Dice(), Prediction(logits), np.zeros((2, 8), np.int32))


def test_gradients_reach_every_head():
    (fine, coarse), label = some((8, 8), (4, 4))
    total = lambda f, c: DeepSupervision()(Dice(), Prediction(f, (c,)), label).sum()  # noqa: E731
    grads = jax.jit(jax.grad(total, argnums=(0, 1)))(fine, coarse)
    assert all(np.any(g != 0) for g in grads)
