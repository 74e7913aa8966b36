import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.experiment import check
from jaxseg.losses import CrossEntropy, Dice, ImageLevel, Ramp
from jaxseg.models import UNet, UNet3Plus, UNetMultiOutput
from jaxseg.optimizers import SGD, Constant
from jaxseg.recipes import Supervised
from jaxseg.train import train
from jaxseg.types import IGNORE, Batch, Prediction


def make_batch(b=4, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, (b, 16, 16)).astype(np.int32)
    image = (label[..., None] + 0.1 * rng.standard_normal((b, 16, 16, 1))).astype(np.float32)
    return Batch(jnp.asarray(image), jnp.asarray(label), jnp.ones(b, bool))


def make_recipe(**fields):
    return Supervised(
        **{
            "model": UNet(num_classes=2, encoder=Plain(widths=(4, 8), norm="none")),
            "optimizer": SGD(learning_rate=Constant(0.1), momentum=0.0),
            "schedule_steps": 10,
            **fields,
        }
    )


def steps(recipe, batch, count=1):
    state = recipe.init(jax.random.key(0), batch)
    step = jax.jit(lambda state, batch: recipe.step(state, batch))
    for _ in range(count):
        state, scalars = step(state, batch)
    return state, scalars


def equal(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def test_the_loss_falls_on_a_batch_that_is_seen_again():
    first = steps(make_recipe(), make_batch())[1]["loss"]
    assert steps(make_recipe(), make_batch(), 10)[1]["loss"] < first


def test_the_total_is_the_sum_of_weighted_terms():
    losses = {"cross_entropy": CrossEntropy(weight=2.0), "dice": Dice(weight=0.5)}
    scalars = steps(make_recipe(losses=losses), make_batch())[1]
    total = 2 * scalars["cross_entropy"] + 0.5 * scalars["dice"]
    np.testing.assert_allclose(scalars["loss"], total, rtol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_weight_of_a_ramp_is_that_of_the_step(accumulate):
    losses = {"cross_entropy": CrossEntropy(weight=Ramp(1.0, 0.0, 4)), "dice": Dice(weight=0.5)}
    for count, weight in ((1, 1.0), (2, 0.75), (6, 0.0)):
        recipe = make_recipe(losses=losses, accumulate=accumulate)
        scalars = steps(recipe, make_batch(), count)[1]
        total = weight * scalars["cross_entropy"] + 0.5 * scalars["dice"]
        np.testing.assert_allclose(scalars["loss"], total, rtol=1e-6)


def test_accumulated_gradients_are_those_of_the_whole_batch():
    batch = make_batch(8)
    batch = batch._replace(valid=batch.valid.at[5].set(False))
    whole = steps(make_recipe(), batch)
    parts = steps(make_recipe(accumulate=4), batch)
    equal(whole[0].params, parts[0].params, atol=1e-6)
    np.testing.assert_allclose(whole[1]["loss"], parts[1]["loss"], rtol=1e-5)


def test_invalid_rows_and_ignored_pixels_change_nothing():
    batch = make_batch(4)
    batch = batch._replace(
        label=batch.label.at[:2, :4].set(IGNORE), valid=jnp.array([True, True, True, False])
    )
    other = batch._replace(image=batch.image.at[3].set(7.0), label=batch.label.at[3].set(0))
    equal(steps(make_recipe(), batch)[0].params, steps(make_recipe(), other)[0].params)


def test_ema_follows_the_parameters_and_is_what_evaluation_uses():
    batch, recipe = make_batch(), make_recipe(ema=0.75)
    start = recipe.init(jax.random.key(0), batch)
    state, _ = steps(recipe, batch)
    expected = jax.tree.map(lambda e, p: 0.75 * e + 0.25 * p, start.ema, state.params)
    equal(state.ema, expected, rtol=1e-6)
    equal(recipe.variables(state)["params"], state.ema)
    plain = make_recipe()
    equal(plain.variables(state)["params"], state.params)


def test_a_step_is_sgd_by_hand():
    batch, recipe = make_batch(), make_recipe(losses={"cross_entropy": CrossEntropy()})
    state = recipe.init(jax.random.key(0), batch)

    def loss(params):
        logits = recipe.model.apply({"params": params}, batch.image, train=True).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.label).mean()

    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, jax.grad(loss)(state.params))
    equal(steps(recipe, batch)[0].params, expected, atol=1e-6)


def test_bfloat16_keeps_parameters_and_loss_in_float32():
    state, scalars = steps(make_recipe(dtype="bfloat16"), make_batch())
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    assert scalars["loss"].dtype == jnp.float32
    reference = steps(make_recipe(), make_batch())[1]["loss"]
    np.testing.assert_allclose(scalars["loss"], reference, rtol=0.02)


def test_image_level_and_auxiliary_logits_are_trained():
    model = UNetMultiOutput(num_classes=2, encoder=Plain(widths=(4, 8), norm="none"))
    recipe = make_recipe(model=model, image_loss=ImageLevel(weight=0.5))
    start = recipe.init(jax.random.key(0), make_batch())
    state, scalars = steps(recipe, make_batch())
    assert jnp.isfinite(scalars["image_level"])
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), start.params, state.params)
    assert all(jax.tree.leaves(moved))


def test_a_loss_of_the_image_and_scores_of_it_go_together(tiny):
    with pytest.raises(UserError, match="UNet gives no image_logits, so it would do nothing"):
        steps(make_recipe(image_loss=ImageLevel()), make_batch())
    guided = UNet3Plus(2, widths=(4, 6), branch_width=3, classification="guided")
    with pytest.raises(UserError, match=r"set recipe.image_loss=ImageLevel\(\)"):
        check(tiny(model=guided))
    check(tiny(model=guided, image_loss=ImageLevel()))


def test_remat_changes_nothing():
    plain = make_recipe()
    remat = dataclasses.replace(plain, model=plain.model.clone(remat=True))
    equal(steps(plain, make_batch())[0].params, steps(remat, make_batch())[0].params, atol=1e-7)


def test_a_recipe_without_a_length_says_who_sets_it():
    recipe = make_recipe(schedule_steps=None)
    with pytest.raises(ValueError, match="schedule_steps"):
        recipe.init(jax.random.key(0), make_batch())


# --- networks and losses that are not what they say


class Misshapen(nn.Module):
    """A network whose maps are of another number, or of another size, than it says."""

    num_classes: int
    more: int = 0
    coarse: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, image, *, train):
        x = nn.Conv(self.num_classes + self.more, (1, 1))(image[:, :: self.coarse, :: self.coarse])
        return Prediction(x)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": Misshapen(2, more=1)}, "Misshapen gives 3 maps and has num_classes=2"),
        ({"model": Misshapen(2, coarse=2)}, r"gives logits of \(8, 8\) for images of \(16, 16\)"),
    ],
)
def test_what_is_not_of_the_shape_that_it_says_is_refused(tiny, tmp_path, fields, said):
    with pytest.raises(UserError, match=said):
        train(tiny(**fields), tmp_path / "run")
    assert not (tmp_path / "run" / "experiment.json").exists()
