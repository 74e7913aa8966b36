"""The partially reversible U-Net: the authors' numbers and counts; its own backward pass."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.reversible_unet import AUTHORS, ReversibleUNet
from jaxseg.types import Prediction
from tests.models import peers
from tests.models.medical_counts import check_cost

pytestmark = pytest.mark.usefixtures("unchecked")

MODEL = ReversibleUNet(3)
BASELINE = ReversibleUNet(3, block="plain", widths=(30, 60, 120, 240, 480))


@pytest.mark.parametrize(("name", "model"), [("NoNewReversible", MODEL), ("NoNewNet", BASELINE)])
def test_its_numbers_are_the_authors(shared, name, model):
    def apply(*args, **fields):  # theirs ends in a sigmoid
        return Prediction(nn.sigmoid(model.apply(*args, **fields).logits))

    ended = types.SimpleNamespace(init=model.init, apply=apply)
    names = model.names[AUTHORS]
    peers.check_fingerprint(shared / "facts", f"prunet/{name}", ended, names, tolerance=1e-4)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NoNewNet_baseline30", BASELINE),
        ("NoNewReversible_60-480_d1", MODEL),
        ("NoNewReversible_fat_enc2dec1", MODEL.clone(encoder_blocks=2)),
        ("NoNewReversible_30-480_d1", MODEL.clone(widths=BASELINE.widths)),
    ],
)
def test_it_costs_what_the_authors_does(shared, name, model):
    check_cost(shared / "facts", f"prunet/{name}", model)


def test_gradients_are_those_of_activations_that_are_kept():
    model, random = ReversibleUNet(2, widths=(4, 8)), np.random.RandomState(0)
    x = random.standard_normal((1, 7, 1)).astype("f4")
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=True))
    variables = jax.tree.map(lambda a: random.standard_normal(a.shape).astype("f4"), shapes)

    def gradients(model, variables):
        def total(variables):
            logits = model.apply(variables, x, train=True).logits
            return (jnp.sin(logits) * jnp.cos(jnp.arange(14.0)).reshape(logits.shape)).sum()

        return jax.value_and_grad(total)(variables)

    models = model, model.clone(backward="keep")
    ours, kept = jax.jit(lambda v: [gradients(model, v) for model in models])(variables)
    ours, kept = jax.device_get((jax.tree.leaves(ours), jax.tree.leaves(kept)))
    for a, b in zip(ours, kept, strict=True):
        assert abs(b).max() > 0
        np.testing.assert_allclose(a, b, atol=1e-5 * abs(b).max())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (6, 9)}, r"widths=\(6, 9\): must be even"),
        ({"widths": (4, 6)}, r"norms of 2 groups see \(2, 3\) channels"),
        ({"encoder_blocks": 0}, "encoder_blocks=0: must be at least 1"),
        (
            {"decoder_blocks": 2, "block": "plain"},
            "decoder_blocks=2: must be 1 where block='plain'",
        ),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(
            lambda: MODEL.clone(**fields).init(
                jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False
            )
        )
