"""What every loss of pixels promises, whatever its formula."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxseg import record
from jaxseg.losses import (
    LOSSES,
    Boundary,
    ClDice,
    Combo,
    CrossEntropy,
    DeepSupervision,
    Dice,
    DistancePenalized,
    ExponentialLogarithmic,
    Focal,
    FocalTversky,
    GeneralizedDice,
    Hausdorff,
    Hybrid,
    ImageLevel,
    Jaccard,
    Loss,
    LovaszHinge,
    LovaszSoftmax,
    Matthews,
    Ramp,
    SensitivitySpecificity,
    TopK,
    Tversky,
    UnifiedFocal,
    WassersteinDice,
)
from jaxseg.sharding import MeshShape
from jaxseg.types import IGNORE
from tests.placing import by_rows

WEIGHTS = (0.2, 0.3, 0.5)
CASES = {
    **{name: loss() for name, loss in LOSSES.items()},
    "cl_dice": ClDice(iterations=1),  # they are unrolled
    "weighted_cross_entropy": CrossEntropy(class_weights=WEIGHTS, label_smoothing=0.1),
    "squared_dice": Dice(squared=True, smooth=0.0),
    "foreground_dice": Dice(classes="foreground"),
    "batch_dice": Dice(batch=True),
    "sigmoid_focal": Focal(activation="sigmoid", class_weights=WEIGHTS, gamma=0.5),
    "simple_generalized_dice": GeneralizedDice(volumes="simple", smooth=1e-5, batch=True),
    "mean_focal_tversky": FocalTversky(power_of="mean", smooth=0.0, batch=True),
    "batch_lovasz_softmax": LovaszSoftmax(classes="foreground", batch=True),
    "batch_lovasz_hinge": LovaszHinge(classes="present", batch=True),
    "spaced_boundary": Boundary(classes="all", spacing=(0.5, 2.0)),
    "spaced_hausdorff": Hausdorff(field="inside", log=True, classes=(0, 2), spacing=(0.5, 2.0)),
    "weighted_distance_penalized": DistancePenalized(class_weights=WEIGHTS, spacing=(0.5, 2.0)),
    "weighted_top_k": TopK(fraction=0.5, threshold=0.3, class_weights=WEIGHTS),
    "weighted_hybrid": Hybrid(class_weights=WEIGHTS, weight=Ramp(0.1, 1.0, 10)),
    "batch_logarithmic": ExponentialLogarithmic(classes="foreground", batch=True),
    "batch_combo": Combo(classes="all", batch=True),
    "batch_matthews": Matthews(classes="all", batch=True),
    "normalized_focal": Focal(average="focus", class_weights=WEIGHTS),
    "batch_unified_focal": UnifiedFocal(average="classes", batch=True),
    "batch_wasserstein": WassersteinDice(
        costs=((0.0, 1.0, 1.0), (1.0, 0.0, 0.5), (1.0, 0.5, 0.0)), batch=True
    ),
}
# One without any overlap.
OF_OVERLAP = Dice | GeneralizedDice | Tversky | Jaccard | LovaszSoftmax
OF_SHARES = OF_OVERLAP | FocalTversky | ClDice | SensitivitySpecificity | WassersteinDice
"""Losses in [0, 1]."""
OF_NEIGHBOURS = Boundary | ClDice | DistancePenalized | Hausdorff
"""Losses for which pixels have a place."""


def cases(which):
    kept = {name: loss for name, loss in CASES.items() if which(loss)}
    return pytest.mark.parametrize("loss", kept.values(), ids=kept)


every = cases(lambda loss: True)


def some(rank: int = 2, b: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = (8, 6) if rank == 2 else (5, 3, 2)  # as many pixels as (5, 6), see below
    logits = rng.normal(0, 2, (b, *size, 3)).astype(np.float32)
    return logits, rng.integers(0, 3, (b, *size)).astype(np.int32)


def sure(label: np.ndarray, by: float = 50.0) -> np.ndarray:
    """Logits of a prediction that is ``label`` with near certainty."""
    return by * (2 * np.eye(3, dtype=np.float32)[label] - 1)


@functools.partial(jax.jit, static_argnums=0)
def compiled(loss: Loss, logits, label, valid, weights):
    def total(z):
        value = loss(z, label, valid=valid, weights=weights)
        return value.sum(), value

    grad, value = jax.grad(total, has_aux=True)(logits)
    return value, grad


def of(loss: Loss, logits, label, *, valid=None, weights=None) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient, compiled once a loss and shape for all tests."""
    valid = np.ones(len(label), bool) if valid is None else valid
    weights = np.ones(label.shape, np.float32) if weights is None else weights
    value, grad = compiled(loss, logits, label, valid, weights)
    return np.asarray(value), np.asarray(grad)


@pytest.mark.parametrize("loss", [CASES[name] for name in LOSSES], ids=LOSSES)
def test_it_is_a_loss_of_one_number_an_example_compiled_or_not(loss: Loss):
    assert isinstance(loss, Loss)
    logits, label = some()
    value = loss(logits, label)
    assert value.shape == (2,) and value.dtype == jnp.float32
    np.testing.assert_allclose(of(loss, logits, label)[0], value, rtol=1e-5)


@pytest.mark.parametrize("loss", [CASES[name] for name in LOSSES], ids=LOSSES)
def test_arguments_of_different_sizes_are_refused(loss: Loss):
    logits, label = some()
    wrong = [
        ((logits, label[:1]), {}),
        ((logits, label[:, :-1]), {}),
        ((logits, label), {"valid": np.ones(3, bool)}),
        ((logits, label), {"weights": np.ones((2, 8, 5), np.float32)}),
        ((logits, label.astype(np.float32)), {}),
    ]
    for given, named in wrong:
        with pytest.raises(TypeCheckError):
            loss(*given, **named)


def test_fields_have_to_be_named():
    for cls in (*LOSSES.values(), DeepSupervision, ImageLevel):
        with pytest.raises(TypeError, match="positional"):
            cls(1.0)  # pyright: ignore


@cases(lambda loss: not isinstance(loss, Boundary) and not getattr(loss, "label_smoothing", 0))
def test_a_perfect_prediction_costs_nothing(loss: Loss):
    _, label = some()
    assert np.allclose(of(loss, sure(label), label)[0], 0, atol=1e-6)


@cases(lambda loss: isinstance(loss, OF_OVERLAP))
def test_a_prediction_that_overlaps_nothing_costs_one(loss: Loss):
    _, label = some()
    wrong = of(loss, sure((label + 1) % 3), label)[0]
    assert np.allclose(wrong, 1, atol=2e-6)  # 1 - smooth / pixels


@every
def test_a_prediction_that_is_surely_wrong_costs_most(loss: Loss):
    logits, label = some()
    wrong = of(loss, sure((label + 1) % 3), label)[0]
    assert np.all(wrong > of(loss, sure(label), label)[0] + 0.1)
    assert np.all(wrong > of(loss, logits, label)[0])


def test_a_prediction_that_is_surely_wrong_costs_the_margin_of_its_logits():
    _, label = some()
    assert np.allclose(CrossEntropy()(sure((label + 1) % 3), label), 100, atol=1e-4)


@every
def test_it_stays_in_its_bounds(loss: Loss):
    for seed in range(3):
        value, _ = of(loss, *some(seed=seed))
        assert isinstance(loss, Boundary) or np.all(value >= 0)
        assert not isinstance(loss, OF_SHARES) or np.all(value <= 1)


@every
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_an_absent_class_leaves_value_and_gradient_finite(loss: Loss, absent: int):
    logits, label = some()
    label[0], label[1] = (absent + 1) % 3, np.where(label[1] == absent, (absent + 2) % 3, label[1])
    value, grad = of(loss, logits, label)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(grad))


@every
def test_with_every_pixel_ignored_value_and_gradient_are_zero(loss: Loss):
    logits, label = some()
    value, grad = of(loss, logits, np.full_like(label, IGNORE))
    assert np.all(value == 0) and np.all(grad == 0)


@every
def test_an_ignored_pixel_has_no_gradient_and_no_influence(loss: Loss):
    logits, label = some()
    label[:, :3] = IGNORE
    value, grad = of(loss, logits, label)
    assert np.all(grad[:, :3] == 0) and np.any(grad[:, 3:] != 0)
    other = logits.copy()
    other[:, :3] = np.nan
    for x, y in zip(of(loss, other, label), (value, grad), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_allclose(of(loss, logits[:, 3:], label[:, 3:])[0], value, rtol=1e-5)


@every
def test_a_row_that_is_not_valid_is_zero_without_gradient(loss: Loss):
    logits, label = some()
    value, grad = of(loss, logits, label, valid=np.array([True, False]))
    assert value[1] == 0 and np.all(grad[1] == 0)
    # The other row is what it would be alone, also for a loss that is taken over the batch.
    ignored = label.copy()
    ignored[1] = IGNORE
    expected = of(loss, logits, ignored)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-6)


@every
@pytest.mark.parametrize("sign", [-1, 1])
def test_value_and_gradient_are_finite_at_logits_of_fifty(loss: Loss, sign: int):
    _, label = some()
    value, grad = of(loss, sign * sure(label), label)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(grad))


@every
def test_it_falls_along_its_gradient(loss: Loss):
    logits, label = some()
    value, grad = of(loss, logits, label)
    assert of(loss, logits - 1e-2 * grad / np.abs(grad).max(), label)[0].sum() < value.sum()


@cases(lambda loss: not getattr(loss, "batch", False))
def test_vmap_over_examples_equals_the_batch(loss: Loss):
    logits, label = some()
    one = lambda z, y: loss(z[None], y[None])[0]  # noqa: E731
    value = jax.jit(jax.vmap(one))(logits, label)
    np.testing.assert_allclose(value, of(loss, logits, label)[0], rtol=1e-5)


@cases(lambda loss: not getattr(loss, "spacing", None))
def test_a_volume_has_a_finite_loss_that_falls_along_its_gradient(loss: Loss):
    logits, label = some(rank=3)
    value, grad = of(loss, logits, label)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(grad))
    assert of(loss, logits - 1e-2 * grad / np.abs(grad).max(), label)[0].sum() < value.sum()
    if not isinstance(loss, OF_NEIGHBOURS):  # then it is an image of as many pixels
        # Of a size that another test has compiled: a rest of five rows of six.
        flat = of(loss, logits.reshape(2, 5, 6, 3), label.reshape(2, 5, 6))[0]
        np.testing.assert_allclose(value, flat, rtol=1e-5)


@every
def test_a_mirrored_image_has_the_same_loss(loss: Loss):
    logits, label = some()
    mirrored = of(loss, logits[:, ::-1], label[:, ::-1])[0]
    np.testing.assert_allclose(mirrored, of(loss, logits, label)[0], rtol=1e-5)


@every
def test_a_weight_of_zero_is_as_good_as_ignored(loss: Loss):
    logits, label = some()
    weights = np.ones(label.shape, np.float32)
    weights[:, :2] = 0
    ignored = label.copy()
    ignored[:, :2] = IGNORE
    value = of(loss, logits, label, weights=weights)[0]
    np.testing.assert_allclose(value, of(loss, logits, ignored)[0], rtol=1e-5)


# A tenth of the pixels is rounded down, and of other numbers of pixels otherwise.
@cases(lambda loss: not isinstance(loss, OF_NEIGHBOURS) and loss != TopK())
def test_a_weight_of_two_counts_a_pixel_twice(loss: Loss):
    logits, label = some()
    logits[:, 1], label[:, 1] = logits[:, 0], label[:, 0]
    expected = of(loss, logits, label)[0]
    weights = np.ones(label.shape, np.float32)
    weights[:, 0] = 2
    label[:, 1] = IGNORE
    np.testing.assert_allclose(of(loss, logits, label, weights=weights)[0], expected, rtol=1e-5)


SHARDED = [(name, (2, 2, 2)) for name in CASES if name in LOSSES or "batch" in name]
SHARDED += [(name, (8, 1, 1)) for name in ("dice", "lovasz_softmax", "boundary", "batch_dice")]


@pytest.mark.parametrize("name, shape", SHARDED)
def test_sharded_over_eight_devices_equals_unsharded(name: str, shape: tuple[int, int, int]):
    logits, label = some(b=8)
    label[1] = IGNORE
    given = logits, label, np.arange(8) < 7, np.ones(label.shape, np.float32)
    placed = jax.device_put(given, by_rows(MeshShape(*shape).build(), given))
    if "batch" in name:
        expected = compiled(CASES[name], *given)
    else:  # two rows at a time: of that size it is compiled already
        pairs = [compiled(CASES[name], *(x[i : i + 2] for x in given)) for i in (0, 2, 4, 6)]
        expected = [np.concatenate(parts) for parts in zip(*pairs, strict=True)]
    for x, y in zip(compiled(CASES[name], *placed), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


@every
def test_json_gives_it_back(loss: Loss):
    tree = json.loads(json.dumps(record.to_json(loss)))
    assert record.from_json(tree) == loss
