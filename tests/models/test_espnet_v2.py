"""ESPNetv2: numbers of an independent form, the unit's dilations."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.models.espnet_v2 import ESPNetV2, dilations
from jaxseg.types import Prediction
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"


class Joined(nn.Module):
    """Both outputs beside each other."""

    part: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Prediction:
        out = self.part(image, train=train)  # pyright: ignore[reportCallIssue]
        return Prediction(jnp.concatenate([out.logits, *out.auxiliary], axis=-1))


def test_its_numbers_are_those_of_a_form_from_the_code():
    # made by golden/make_compact.py
    model = ESPNetV2(3, widths=(16, 32, 48, 64), depths=(0, 1, 1))
    names = [(pattern, f"part.{name}") for pattern, name in model.names["sacmehta/ESPNetv2"]]
    peers.check(GOLDEN, "espnet_v2", Joined(model), names)


@pytest.mark.parametrize(
    ("limit", "rates"), [(9, (1, 2, 3, 4)), (7, (1, 1, 2, 3)), (5, (1, 1, 1, 2)), (3, (1,) * 4)]
)
def test_a_branch_that_would_span_too_much_is_not_dilated(limit, rates):
    assert dilations(limit) == rates


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((16, 40, 48, 64), "level2_down/unit: 16 channels to 24 features; .* multiples of 16"),
        ((16, 32, 32, 64), "level3_down: 32 channels to 32; widths must grow"),
    ],
)
def test_widths_that_units_cannot_have_are_refused(widths, message):
    model, x = ESPNetV2(2, widths=widths), jnp.zeros((1, 16, 16, 3))
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))


def test_levels_and_their_depths_have_to_fit():
    model, x = ESPNetV2(2, depths=(1, 1)), jnp.zeros((1, 16, 16, 3))
    with pytest.raises(UserError, match="three widths or more, and a depth for each but the first"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
