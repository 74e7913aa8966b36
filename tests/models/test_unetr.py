"""UNETR: MONAI's counts and numbers, the position embedding at other sizes, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.unetr import UNETR, PatchEmbedding
from tests.models import peers
from tests.models.medical_counts import check_cost

NEVER_RUN = r"vit\.blocks\.\d+\.norm_cross_attn\.\w+"


def test_it_costs_what_monai_does(shared):
    # MONAI has a norm in each block that it never runs
    check_cost(shared / "facts", "monai/UNETR_96_14cls", UNETR(14), never_run=12 * 2 * 768)


def test_its_numbers_are_those_of_monai(shared):
    model = UNETR(3, size=32, hidden_width=96, mlp_width=192, heads=4)
    names = model.names["monai"]
    facts = shared / "facts"
    peers.check_fingerprint(facts, "monai/UNETR_32", model, names, never_run=NEVER_RUN)


SMALL = UNETR(2, size=(32, 48), width=2, hidden_width=6, mlp_width=8, heads=2, depth=1)
SMALL = SMALL.clone(taps=(1, 1, 1))


def image(*size):
    return jnp.asarray(np.random.RandomState(0).standard_normal((1, *size, 1)), jnp.float32)


def test_at_another_size_places_are_resampled_and_at_its_own_they_are_as_learnt():
    embed, x = PatchEmbedding(3, (1, 2)), jnp.zeros((1, 16, 64, 1))
    variables = embed.init(jax.random.key(0), x)
    places = jnp.asarray([[0.0, 1.0, 2.0], [4.0, 1.0, 0.0]])
    variables = {"params": variables["params"] | {"position_embeddings": places}}
    own = embed.apply(variables, x[:, :, :32])
    np.testing.assert_array_equal(own[0, 0], places)
    between = [places[0], 0.75 * places[0] + 0.25 * places[1]]
    between += [0.25 * places[0] + 0.75 * places[1], places[1]]
    np.testing.assert_allclose(embed.apply(variables, x)[0, 0], between)


def test_blocks_are_computed_again_where_that_is_asked_for():
    x, again = image(32, 48), SMALL.clone(remat=True)
    params = jax.eval_shape(lambda: SMALL.init(jax.random.key(0), x, train=False))
    assert params == jax.eval_shape(lambda: again.init(jax.random.key(0), x, train=False))
    for model in (SMALL, again):
        logits = jax.grad(lambda v, model=model: model.apply(v, x, train=True)[0].sum())
        assert ("remat" in str(jax.make_jaxpr(logits)(params))) == model.remat


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": (32, 40)}, r"size=\(32, 40\): must be multiples of the patches' 16 pixels"),
        ({"size": (32, 32, 32)}, "the image has 2 axes"),
        ({"size": 0}, "must be multiples"),
        ({"heads": 4}, "heads=4: must be a divisor of hidden_width=6"),
        ({"taps": (1, 2, 1)}, "taps=.*must be three numbers that grow, from 1 to 1"),
        ({"taps": (1, 1, 2)}, "from 1 to 1"),
        ({"taps": (0, 1, 1)}, "from 1 to 1"),
        ({"dropout": 1.5}, r"dropout=1.5: must be in \[0, 1\]"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    model = SMALL.clone(**fields)
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), image(32, 48), train=False))
