"""SegResNet: numbers and counts of MONAI's; its variational branch; what it takes."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.convert import from_torch
from jaxseg.errors import UserError
from jaxseg.layers import ADN
from jaxseg.models import Variational
from jaxseg.models.segresnet import SegResNet
from tests.convert import recorded
from tests.models.medical_counts import check_cost, counts

PAPER = SegResNet(3)


@pytest.mark.parametrize(
    ("name", "width", "classes"),
    [("SegResNet3d", 8, 2), ("SegResNet3d_32", 32, 3)],
)
def test_it_costs_what_monai_does(shared, name, width, classes):
    model = PAPER.clone(num_classes=classes, width=width)
    check_cost(shared / "facts", f"monai/{name}", model)


def test_its_branch_has_the_parameters_of_monais(shared):
    known = counts(shared / "facts")["monai/SegResNetVAE"]
    branch = Variational(codes=256, grid=(10, 12, 8), deviation=0.3, decoder="shared")
    x = jax.ShapeDtypeStruct((1, 160, 192, 128, 4), jnp.float32)
    model = PAPER.clone(width=16, branch=branch)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    assert cost.parameters(shapes) == known["params"]


# --- the branch -----------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent.parent / "golden"
*_, VAE = json.loads((GOLDEN / "segresnet.json").read_text())  # golden/make_segresnet.py


def test_the_branch_learns_what_monais_does(monkeypatch):
    """By its loss, where the codes are drawn with the same noise."""
    drawn = {key: recorded.drawn_weight(key, shape) for key, shape in VAE["state_dict"]}
    model, variables = from_torch(VAE["library"], VAE["arch"], VAE["kwargs"], drawn)
    shape, seed = VAE["input"]["shape"], VAE["input"]["seed"]
    image = np.random.RandomState(seed).standard_normal(shape).astype("f4")
    image = np.moveaxis(image, 1, -1)
    noise = np.random.RandomState(3).standard_normal((shape[0], 5)).astype("f4")
    monkeypatch.setattr(jax.random, "normal", lambda *_: jnp.asarray(noise))

    @jax.jit
    def loss(variables):
        rngs = {"dropout": jax.random.key(0)}
        extra = model.apply(variables, image, train=True, rngs=rngs).extra
        return (extra["reconstruction"] + extra["divergence"]).mean()

    assert abs(loss(variables) - VAE["loss"]) <= 1e-5 * VAE["loss"]


BRANCH = Variational(codes=3, grid=2)
TINY = SegResNet(2, 4, (1, 1), (1,), before=ADN("group", "relu", groups=2), branch=BRANCH)


def test_codes_cover_an_image_of_any_size_and_evaluation_has_none():
    x = jax.ShapeDtypeStruct((2, 31, 18, 1), jnp.float32)
    shapes = jax.eval_shape(lambda x: TINY.init(jax.random.key(0), x, train=False), x)
    rngs = {"dropout": jax.random.key(0)}

    def run(variables, x, *, train):
        return TINY.apply(variables, x, train=train, rngs=rngs).extra

    extra = jax.eval_shape(functools.partial(run, train=True), shapes, x)
    assert {name: leaf.shape for name, leaf in extra.items()} == {
        "reconstruction": (2,),
        "divergence": (2,),
    }
    assert jax.eval_shape(functools.partial(run, train=False), shapes, x) is None
    assert TINY.names == {}  # MONAI's branch shares the decoder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": (1,), "decoder_depths": ()}, "depths=.*of two levels or more"),
        ({"decoder_depths": (1,)}, "decoder_depths=.*must be 3 entries"),
        ({"depths": (1, -1, 1, 1)}, "depths=.*at least 0 each"),
        ({"width": 4}, "groups=8 does not divide 4 channels"),
        ({"branch": BRANCH, "before": ADN("batch")}, "no prelu with a branch"),
        ({"branch": dataclasses.replace(BRANCH, grid=(2, 2, 2))}, "the image has 2 axes"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    model, x = PAPER.clone(**fields), jnp.zeros((1, 16, 16, 1))
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model.init(rngs, x, train=True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"codes": 0}, "codes=0: must be at least 1"),
        ({"grid": (4, 0)}, "grid=.*at least 1 an axis"),
        ({"deviation": -0.1}, "deviation=-0.1: must be 0 or more"),
        ({"deviation": float("nan")}, "deviation=nan"),
    ],
)
def test_a_branch_that_codes_nothing_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Variational(**fields)
