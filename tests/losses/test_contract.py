"""What every loss of pixels promises, whatever its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxseg.losses import LOSSES, CrossEntropy, Dice, Loss
from jaxseg.sharding import MeshShape, of_batch
from jaxseg.types import IGNORE

CASES = {
    **{name: loss() for name, loss in LOSSES.items()},
    "weighted_cross_entropy": CrossEntropy(class_weights=(0.2, 0.3, 0.5), label_smoothing=0.1),
    "squared_dice": Dice(squared=True, smooth=0.0),
    "foreground_dice": Dice(background=False),
    "batch_dice": Dice(batch=True),
}
every = pytest.mark.parametrize("loss", CASES.values(), ids=CASES)
of_overlap = pytest.mark.parametrize(
    "loss",
    [v for v in CASES.values() if isinstance(v, Dice)],
    ids=[k for k in CASES if "dice" in k],
)


def some(rank: int = 2, b: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = (8, 6, 4)[:rank]
    logits = rng.normal(0, 2, (b, *size, 3)).astype(np.float32)
    return logits, rng.integers(0, 3, (b, *size)).astype(np.int32)


def sure(label: np.ndarray, by: float = 50.0) -> np.ndarray:
    """Logits of a prediction that is ``label`` with near certainty."""
    return by * (2 * np.eye(3, dtype=np.float32)[label] - 1)


@every
def test_it_is_a_loss_of_one_number_an_example(loss: Loss):
    assert isinstance(loss, Loss)
    logits, label = some()
    value = loss(logits, label)
    assert value.shape == (2,) and value.dtype == jnp.float32


@pytest.mark.parametrize("loss", [v for k, v in CASES.items() if "weighted" not in k])
def test_a_perfect_prediction_costs_nothing(loss: Loss):
    _, label = some()
    assert np.allclose(loss(sure(label), label), 0, atol=1e-6)


@of_overlap
def test_a_prediction_that_overlaps_nothing_costs_one(loss: Dice):
    _, label = some()
    assert np.allclose(loss(sure((label + 1) % 3), label), 1, atol=1e-6)


def test_a_prediction_that_is_surely_wrong_costs_the_margin_of_its_logits():
    _, label = some()
    assert np.allclose(CrossEntropy()(sure((label + 1) % 3), label), 100, atol=1e-4)


@every
def test_it_stays_in_its_bounds(loss: Loss):
    for seed in range(3):
        value = loss(*some(seed=seed))
        assert np.all(value >= 0)
        assert not isinstance(loss, Dice) or np.all(value <= 1)


@every
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_an_absent_class_leaves_value_and_gradient_finite(loss: Loss, absent: int):
    logits, _ = some()
    label = np.full(logits.shape[:-1], (absent + 1) % 3, np.int32)
    value, grad = jax.value_and_grad(lambda z: loss(z, label).sum())(jnp.asarray(logits))
    assert np.isfinite(value) and np.all(np.isfinite(grad))


@every
def test_with_every_pixel_ignored_value_and_gradient_are_zero(loss: Loss):
    logits, label = some()
    label[:] = IGNORE
    value, grad = jax.value_and_grad(lambda z: loss(z, label).sum())(jnp.asarray(logits))
    assert value == 0 and np.all(grad == 0)


@every
def test_an_ignored_pixel_has_no_gradient_and_no_influence(loss: Loss):
    logits, label = some()
    label[:, :3] = IGNORE
    value, grad = jax.value_and_grad(lambda z: loss(z, label).sum())(jnp.asarray(logits))
    assert np.all(grad[:, :3] == 0) and np.any(grad[:, 3:] != 0)
    other = logits.copy()
    other[:, :3] = np.nan
    np.testing.assert_array_equal(loss(other, label), loss(logits, label))
    np.testing.assert_allclose(loss(logits[:, 3:], label[:, 3:]).sum(), value, rtol=1e-5)


@every
def test_a_row_that_is_not_valid_is_zero_without_gradient(loss: Loss):
    logits, label = some(b=3)
    valid = np.array([True, False, True])
    call = lambda z: loss(z, label, valid=valid)  # noqa: E731
    value = call(logits)
    grad = jax.grad(lambda z: call(z).sum())(jnp.asarray(logits))
    assert value[1] == 0 and np.all(grad[1] == 0)
    kept = loss(logits[valid], label[valid])
    np.testing.assert_allclose(value[valid], kept, rtol=1e-6)


@every
@pytest.mark.parametrize("sign", [-1, 1])
def test_value_and_gradient_are_finite_at_logits_of_fifty(loss: Loss, sign: int):
    _, label = some()
    logits = jnp.asarray(sign * sure(label))
    value, grad = jax.value_and_grad(lambda z: loss(z, label).sum())(logits)
    assert np.isfinite(value) and np.all(np.isfinite(grad))


@every
def test_it_falls_along_its_gradient(loss: Loss):
    logits, label = some()
    total = lambda z: loss(z, label).sum()  # noqa: E731
    grad = jax.grad(total)(jnp.asarray(logits))
    assert total(logits - 1e-2 * grad / jnp.abs(grad).max()) < total(logits)


@every
def test_jit_equals_no_jit(loss: Loss):
    logits, label = some()
    np.testing.assert_allclose(jax.jit(loss)(logits, label), loss(logits, label), rtol=1e-5)


@pytest.mark.parametrize("loss", [v for k, v in CASES.items() if k != "batch_dice"])
def test_vmap_over_examples_equals_the_batch(loss: Loss):
    logits, label = some()
    one = lambda z, y: loss(z[None], y[None])[0]  # noqa: E731
    np.testing.assert_allclose(jax.vmap(one)(logits, label), loss(logits, label), rtol=1e-5)


@every
def test_a_volume_is_an_image_of_as_many_pixels(loss: Loss):
    logits, label = some(rank=3)
    flat = loss(logits.reshape(2, -1, 3), label.reshape(2, -1))
    np.testing.assert_allclose(loss(logits, label), flat, rtol=1e-5)


@every
def test_the_order_of_pixels_does_not_matter(loss: Loss):
    logits, label = some()
    np.testing.assert_allclose(
        loss(logits[:, ::-1], label[:, ::-1]), loss(logits, label), rtol=1e-5
    )


@every
def test_a_weight_of_zero_is_as_good_as_ignored(loss: Loss):
    logits, label = some()
    weights = np.ones(label.shape, np.float32)
    np.testing.assert_allclose(loss(logits, label, weights=weights), loss(logits, label), rtol=1e-6)
    weights[:, :2] = 0
    ignored = label.copy()
    ignored[:, :2] = IGNORE
    np.testing.assert_allclose(
        loss(logits, label, weights=weights), loss(logits, ignored), rtol=1e-5
    )


@every
def test_a_weight_of_two_counts_a_pixel_twice(loss: Loss):
    logits, label = some()
    weights = np.ones(label.shape, np.float32)
    weights[:, 0] = 2
    twice = [np.concatenate([x, x[:, :1]], axis=1) for x in (logits, label)]
    np.testing.assert_allclose(loss(logits, label, weights=weights), loss(*twice), rtol=1e-5)


@every
@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2)])
def test_sharded_over_eight_devices_equals_unsharded(loss: Loss, shape: tuple[int, int, int]):
    logits, label = some(b=8)
    label[1] = IGNORE
    valid = np.arange(8) < 7
    value = lambda z, y, v: loss(z, y, valid=v)  # noqa: E731
    grad = jax.grad(lambda z, y, v: value(z, y, v).sum())
    mesh = MeshShape(*shape).build()
    where = of_batch(mesh, (logits, label, valid))
    one = NamedSharding(mesh, PartitionSpec())
    for function in (value, grad):
        sharded = jax.jit(function, in_shardings=where, out_shardings=one)
        np.testing.assert_allclose(
            sharded(logits, label, valid),
            function(jnp.asarray(logits), label, valid),
            rtol=1e-5,
            atol=1e-7,
        )
