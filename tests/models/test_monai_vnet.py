"""MONAI's V-Net: numbers and counts of MONAI's own; what it takes."""

import json

import jax
import jax.numpy as jnp
import pytest
from flax import traverse_util

from jaxseg.convert import place
from jaxseg.errors import UserError
from jaxseg.models.monai_vnet import MonaiVNet
from tests.models.medical_counts import check_cost

ELU = MonaiVNet(2)
PRELU = ELU.clone(after=ELU.after.clone(activation="prelu"))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("VNet3d", ELU),
        ("VNet3d_prelu", PRELU),
        ("VNet3d_prelu_bias", PRELU.clone(use_bias=True)),
        ("VNet2d", ELU),
    ],
)
def test_it_costs_what_monai_does(shared, name, model):
    check_cost(shared / "facts", f"monai/{name}", model)


def test_every_slope_of_monai_has_its_place(shared):
    """Numbers, of ELU, are held to a record by tests/convert/test_records.py."""
    keys = json.loads((shared / "facts" / "keys" / "monai__VNet3d_prelu.json").read_text())
    x = jax.ShapeDtypeStruct((1, 16, 16, 16, 1), jnp.float32)
    made = jax.eval_shape(lambda x: PRELU.init(jax.random.key(0), x, train=False), x)
    found = [place(key, shape, PRELU.names["monai"]) for key, shape in keys]
    assert sorted(found) == sorted(traverse_util.flatten_dict(made))


SMALL = MonaiVNet(
    2, 4, (1, 1), (1,), down_dropouts=(0.0, 0.0), up_dropouts=(0.0,), skip_dropouts=(0.5,)
)


def test_dropout_leaves_out_whole_channels_of_a_skip_in_training_only():
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))

    @jax.jit
    def run():
        variables = SMALL.init(jax.random.key(1), x, train=False)
        rngs = {"dropout": jax.random.key(2)}
        _, seen = SMALL.apply(
            variables,
            x,
            train=True,
            rngs=rngs,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda module, _: module.name == "level0_skip_dropout",
        )
        return seen["intermediates"]["level0_skip_dropout"]["__call__"][0]

    left_out = (run() == 0).reshape(-1, 4)
    assert (left_out.all(0) == left_out.any(0)).all() and 0 < left_out.all(0).sum() < 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": (1, 1, 1)}, "MonaiVNet.decoder_depths=.*must be 2 entries, for depths="),
        ({"decoder_depths": (0,)}, "decoder_depths=.*at least 1 each"),
        ({"up_dropouts": (0.1, 0.1)}, "up_dropouts=.*must be 1 entries"),
        ({"skip_dropouts": (1.5,)}, r"skip_dropouts=.*must be in \[0, 1\] each"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    model, x = SMALL.clone(**fields), jnp.zeros((1, 16, 16, 3))
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
