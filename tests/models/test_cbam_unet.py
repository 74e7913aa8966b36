"""U-Net with CBAM: where the modules stand, and what they cost.

The numbers of the module by itself: tests/layers/test_attention_released.py.
"""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.layers import CBAM
from jaxseg.models import CBAMUNet
from tests.models.blocks import Block
from tests.models.medical_counts import check_cost


def params(model):
    x = jnp.zeros((1, 8, 8, 2))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]


def test_a_module_ends_every_level():
    made = params(CBAMUNet(2, widths=(4, 6, 8), recalibration=CBAM(2)))
    for side, levels in (("encoder", (0, 1, 2)), ("decoder", (0, 1))):
        found = {name for name in made[side] if "recalibration" in name}
        assert found == {f"level{level}_recalibration" for level in levels}
    assert made["encoder"]["level2_recalibration"]["channel_reduce"]["kernel"].shape[-2:] == (8, 4)


@pytest.mark.parametrize("width", [64, 256])
def test_the_module_costs_what_the_authors_does(shared, width):
    check_cost(shared / "facts", f"cbam/CBAM_{width}_r16", Block(CBAM()))


def test_a_reduction_that_leaves_no_channel_is_refused():
    with pytest.raises(UserError, match="CBAM level0_recalibration: reduction=16 leaves none of 4"):
        params(CBAMUNet(2, widths=(4, 6)))
