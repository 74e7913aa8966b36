"""The head of Parsing R-CNN: its numbers and its counts, with the non-local block and without."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.attention import attention_maps
from jaxseg.encoders import ResNet
from jaxseg.layers import ASPP, NonLocal
from jaxseg.models.aspp_nonlocal import ASPPNonLocal, GCEHead
from tests.models import peers
from tests.models.blocks import Block
from tests.models.medical_counts import check_cost

NON_LOCAL = NonLocal(512, scaled=True, pool=2, norm="group")
NAMES = (
    (r"a\.0\.0", "part.aspp.pointwise.conv!"),
    (r"a\.([123])\.0", r"part.aspp.dilated\1.conv!"),
    (r"p\.0", "part.aspp.image.conv!"),
    (r"f\.0", "part.aspp.projection.conv!"),
    (r"nl\.t", "part.non_local.theta!"),
    (r"nl\.p", "part.non_local.phi!"),
    (r"nl\.g", "part.non_local.g!"),
    (r"nl\.o", "part.non_local.out!"),
    (r"nl\.n", "part.non_local!"),
    *((rf"t\.{i}\.0", f"part.conv{i + 1}.conv!") for i in range(4)),
)


def test_the_head_gives_the_numbers_of_the_released_one(shared):
    head = Block(GCEHead(64, aspp_width=32))
    peers.check_fingerprint(shared / "facts", "gce/GCE_head", head, NAMES, tolerance=1e-4)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("GCE_head_256_512_nl_4conv", GCEHead()),
        ("GCE_nonl", GCEHead(context="aspp")),
        ("ASPP_only", ASPP(256, projection=512, dropout=0.0, norm="none")),
        ("NonLocal2d_512", NON_LOCAL),
    ],
)
def test_the_head_and_its_parts_cost_what_the_released_ones_do(shared, name, block):
    check_cost(shared / "facts", f"gce/{name}", Block(block))


def test_the_head_sees_the_finest_level_of_the_pyramid():
    model = ASPPNonLocal(2, encoder=ResNet(10, width=4), pyramid_width=6, width=8, aspp_width=4)
    x = jnp.zeros((1, 61, 64, 1))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    maps = jax.eval_shape(lambda v: attention_maps(model, v, x), variables)
    # of a map at stride 4, halved for the keys
    assert {name: a.shape for name, a in maps.items()} == {"gce/non_local": (1, 8, 8, 1)}
    assert {"p2_lateral", "p5_lateral", "p2_smooth"} < set(variables["params"])
    assert "p3_smooth" not in variables["params"]
