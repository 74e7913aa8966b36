"""V-Net: numbers of a PyTorch form, counts of the paper's figure and the authors' prototxt."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers import ADN
from jaxseg.models.vnet import Stack, VNet
from tests.models import peers
from tests.models.medical_counts import check_cost

GOLDEN = Path(__file__).parent.parent / "golden" / "vnet.json"  # golden/make_vnet.py
PAPER, PROTOTXT = VNet(2), VNet(2, flavor="prototxt")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("official_prototxt_rebuild", PROTOTXT),
        ("paper_figure2_1x1out", PAPER),
        ("paper_figure2_bn_1x1out", PAPER.clone(norm="batch")),
    ],
)
def test_it_costs_what_was_counted(shared, name, model):
    check_cost(shared / "facts", f"vnet/{name}", model)


def names(levels):
    """Where the form of golden/make_vnet.py has what; it counts the way up from the coarsest on.

    A stack there is a list of convolutions and PReLUs, of which the last one's is beside it.
    """
    rows = [(r"inp\.0", "level0_down.conv0.conv!"), ("a0", "level0_down@slope")]
    rows += [(r"proto_out\.0", "head_conv.conv!"), (r"proto_out\.1", "head_conv.adn@slope")]
    rows.append((r"proto_out(?:\.2)?", "head!"))
    for i in range(levels - 1):
        down, up = i + 1, levels - 2 - i
        for letter, ours in (("e", f"level{down}_down"), ("d", f"level{up}_up")):
            for conv in range(3):
                rows.append((rf"{letter}s\.{i}\.{2 * conv}\.0", f"{ours}.conv{conv}.conv!"))
                rows.append((rf"{letter}s\.{i}\.{2 * conv + 1}", f"{ours}.conv{conv}.adn@slope"))
            rows.append((rf"{letter}a\.{i}", f"{ours}@slope"))
        rows.append((rf"down\.{i}\.0\.0", f"level{down}_shrink.conv!"))
        rows.append((rf"down\.{i}\.1", f"level{down}_shrink.adn@slope"))
        rows.append((rf"up\.{i}\.0", f"level{up}_enlarge.conv~"))
        rows.append((rf"up\.{i}\.2", f"level{up}_enlarge.adn@slope"))
    return rows


def test_its_numbers_are_those_of_a_pytorch_form(shared):
    name = "vnet/official_prototxt"
    peers.check_fingerprint(shared / "facts", name, PROTOTXT, names(5), tolerance=1e-4)


def test_the_papers_flavor_computes_that_of_a_pytorch_form_in_2d():
    """The form gives what the founders found of both flavors at full width."""
    (known,) = json.loads(GOLDEN.read_text())
    fields = known["kwargs"]
    model = VNet(3, fields["flavor"], fields["width"], tuple(fields["depths"]))
    peers.check_known(known, model, names(3), 1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": (1,)}, r"VNet.depths=\(1,\): must be of two levels or more"),
        ({"depths": (1, 0)}, "at least 1 each"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    model, x = PAPER.clone(**fields), jnp.zeros((1, 16, 16, 3))
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))


def test_the_first_stack_adds_the_channels_of_the_image_in_turn():
    stack, x = Stack(4, 1, after=ADN("none", "relu")), jnp.array([[[1.0, 2.0, 3.0]]])
    variables = jax.tree.map(jnp.zeros_like, stack.init(jax.random.key(0), x, train=False))
    np.testing.assert_array_equal(stack.apply(variables, x, train=False)[0, 0], [1, 2, 3, 1])
