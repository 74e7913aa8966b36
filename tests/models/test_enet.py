"""ENet: numbers of an independent form, both forms; what the released one is."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.models.enet import MIDDLES, ENet
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"

FORMS = ("paper", "davidtvs")
TINY = {"widths": (8, 8, 16), "blocks": 1, "middles": (1, 2, "asymmetric")}


@pytest.mark.parametrize(("name", "form"), [("enet", "paper"), ("enet_davidtvs", "davidtvs")])
def test_its_numbers_are_those_of_a_form_from_the_code(name, form):
    # made by golden/make_compact.py
    peers.check(GOLDEN, name, ENet(3, form=form, **TINY), ENet.names["davidtvs/PyTorch-ENet"])


def params(model):
    x = jnp.zeros((1, 64, 64, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]


def test_a_bottleneck_narrows_to_a_quarter_of_what_it_puts_out():
    found, popular = (params(ENet(19, form=form, middles=MIDDLES[:3])) for form in FORMS)
    widths = {"stage1_down": (16, 4), "stage2_block3": (32, 32), "stage5_up": (4, 16)}
    for name, (ours, theirs) in widths.items():
        assert found[name]["reduce_conv"]["kernel"].shape[-1] == ours
        assert popular[name]["reduce_conv"]["kernel"].shape[-1] == theirs
    assert found["stage2_block3"]["middle_conv1"]["kernel"].shape == (1, 5, 32, 32)
    assert "bias" not in found["stage2_block3"]["middle_conv1"]
    assert found["stage2_block3"]["middle_slope"].shape == (32,)
    assert popular["stage2_block3"]["middle_slope"].shape == (1,)


@pytest.mark.parametrize(
    ("widths", "channels", "message"),
    [((4, 8, 8), 4, r"widths\[0\] must be above 4"), ((16, 8, 8), 3, "must not fall")],
)
def test_widths_that_cannot_be_are_refused(widths, channels, message):
    with pytest.raises(UserError, match=message):
        x = jnp.zeros((1, 8, 8, channels))
        jax.eval_shape(lambda: ENet(2, widths=widths).init(jax.random.key(0), x, train=False))
