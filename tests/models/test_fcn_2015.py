"""The released FCNs: numbers of an independent form, fixed and learnt upsampling, zero scores."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.layers import TransposedConv
from jaxseg.models import create
from jaxseg.models.fcn_2015 import interpolated
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"
TINY = {"width": 4, "hidden": 6}


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "fcn8s_at_once", "fcn_alexnet"])
def test_its_numbers_are_those_of_a_form_from_the_paper(name):
    # made by golden/make_fully_convolutional.py
    peers.check(GOLDEN, name, create(name, num_classes=4, upsample="learnt", **TINY))


@pytest.mark.parametrize(("factor", "kernel_size", "offset"), [(2, 4, 0), (4, 8, 5), (8, 15, 4)])
def test_fixed_upsampling_is_the_learnt_one_as_it_starts(factor, kernel_size, offset):
    x, size = jax.random.normal(jax.random.key(0), (1, 3, 4, 2)), (2 * factor, 3 * factor + 1)
    layer = TransposedConv(2, factor, kernel_size, use_bias=False, kernel_init="bilinear")
    learnt, _ = jax.jit(lambda x: layer.init_with_output(jax.random.key(1), x))(x)
    learnt = learnt[:, offset : offset + size[0], offset : offset + size[1]]
    np.testing.assert_allclose(
        interpolated(x, factor, kernel_size, offset, size), learnt, atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("fcn32s", 134_346_581), ("fcn16s", 134_357_354), ("fcn8s", 134_362_751),
     ("fcn8s_at_once", 134_362_751), ("fcn_alexnet", 56_954_261)],
)  # fmt: skip
def test_the_parameters_of_the_paper_are_those_without_the_frozen_kernels(name, parameters):
    model = create(name, num_classes=21)
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    assert cost.parameters(variables) == parameters


def test_each_stage_has_one_score_more_than_the_one_before():
    layers = []
    for name in ("fcn32s", "fcn16s", "fcn8s"):
        model = create(name, num_classes=3, **TINY)
        init = jax.eval_shape(
            lambda m=model: m.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
        )
        layers.append(set(init["params"]))
    assert layers[1] - layers[0] == {"score_pool4"} and layers[2] - layers[1] == {"score_pool3"}


def test_scores_are_zero_at_first():
    model = create("fcn32s", num_classes=3, **TINY)
    x, key = jnp.ones((1, 8, 8, 3)), jax.random.key(0)
    prediction, _ = jax.jit(lambda x: model.init_with_output(key, x, train=False))(x)
    assert (prediction.logits == 0).all()


def test_caffenet_has_no_skips():
    model = create("fcn_alexnet", num_classes=3, form="8s")
    with pytest.raises(UserError, match="FCN2015.form='8s': must be '32s' with trunk='caffenet'"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False))
