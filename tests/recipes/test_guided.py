"""Guided: what the network says of itself is a term like any other."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data import Data, Synthetic
from jaxseg.errors import UserError
from jaxseg.experiment import Experiment, check
from jaxseg.layers import Head
from jaxseg.losses import Ramp
from jaxseg.optimizers import SGD
from jaxseg.recipes import Guided
from jaxseg.types import Batch, Prediction


class Telling(nn.Module):
    """A head that says the mean square of its logits, and has a map beside."""

    num_classes: int = 2
    stride = 1

    @nn.compact
    def __call__(self, image, *, train):
        logits = Head(self.num_classes, name="head")(image)
        return Prediction(
            logits, extra={"size": jnp.square(logits).mean((1, 2, 3)), "map": logits[..., :1]}
        )


def recipe(**guides) -> Guided:
    return Guided(model=Telling(), guides=guides, optimizer=SGD(0.1), schedule_steps=4)


def batch(valid=(True, True, True)) -> Batch:
    x = jax.random.normal(jax.random.key(0), (len(valid), 4, 5, 1))
    return Batch(x, jnp.zeros(x.shape[:-1], jnp.int32), jnp.asarray(valid))


def scalars_of(recipe: Guided, batch: Batch, count: int = 1):
    state = recipe.init(jax.random.key(0), batch)
    for _ in range(count):
        before = state
        state, scalars = jax.jit(recipe.step)(state, batch)
    said = recipe.model.apply({"params": before.params}, batch.image, train=False).extra
    return scalars, said


def test_a_guide_is_a_term_by_its_weight_over_the_valid_rows():
    scalars, said = scalars_of(recipe(size=0.5), batch((True, False, True)))
    np.testing.assert_allclose(scalars["size"], said["size"][np.array([0, 2])].mean(), rtol=1e-6)
    total = scalars["cross_entropy"] + 0.5 * scalars["size"]
    np.testing.assert_allclose(scalars["loss"], total, rtol=1e-6)


def test_a_ramp_changes_its_weight():
    scalars, _ = scalars_of(recipe(size=Ramp(0.0, 1.0, 4)), batch(), count=2)
    total = scalars["cross_entropy"] + 0.25 * scalars["size"]
    np.testing.assert_allclose(scalars["loss"], total, rtol=1e-6)


def test_what_the_network_does_not_say_is_refused():
    with pytest.raises(
        UserError, match="Telling has nothing extra that is called 'sise'; .*'size'"
    ):
        scalars_of(recipe(sise=1.0), batch())
    with pytest.raises(UserError, match=r"guides.map: the network gives shape \(3, 4, 5, 1\)"):
        scalars_of(recipe(map=1.0), batch())


@pytest.mark.parametrize("name", ["loss", "cross_entropy"])
def test_a_guide_has_a_name_of_its_own(name):
    data = Data(Synthetic(), patch=(32, 32))
    with pytest.raises(UserError, match=f"guides: '{name}' is the name of another term"):
        check(Experiment(recipe=recipe(**{name: 1.0}), data=data, steps=1, batch_size=8))
