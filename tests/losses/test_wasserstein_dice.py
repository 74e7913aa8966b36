import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import WassersteinDice

COSTS = ((0.0, 1.0, 1.0), (1.0, 0.0, 0.5), (1.0, 0.5, 0.0))


def test_it_equals_monai(tensor):
    golden = 0.5741629603972428  # gwdice.monai, with the costs of systems.md, appendix 1
    value = jax.jit(WassersteinDice(costs=COSTS))(*tensor).mean()
    assert float(value) == pytest.approx(golden, rel=1e-6)


def test_three_pixels_by_hand():
    # p = (1/2, 1/4, 1/4), labels 0, 1, 2: W = 1/2, 1/2 + 1/8, 1/2 + 1/8; T = 2 - 5/4.
    logits = np.broadcast_to(np.log(np.float32([2, 1, 1])), (1, 3, 3)).copy()
    label = np.int32([[0, 1, 2]])
    loss = WassersteinDice(costs=COSTS, smooth=0.0)
    assert np.allclose(jax.jit(loss)(logits, label), 1.75 / (1.5 + 1.75), rtol=1e-6)
    # Every mistake costs 1: W = 1/2, 3/4, 3/4; T = 1/2. Costs have no unit.
    plain = jax.jit(WassersteinDice(smooth=0.0))(logits, label)
    assert np.allclose(plain, 2 / (1 + 2), rtol=1e-6)
    doubled = WassersteinDice(costs=tuple(tuple(2 * x for x in row) for row in COSTS), smooth=0.0)
    assert np.allclose(jax.jit(doubled)(logits, label), 1.75 / 3.25, rtol=1e-6)


@pytest.mark.parametrize("costs", [((0.0, 1.0),), ((1.0, 1.0), (1.0, 0.0)), ((0.0, 0.0),) * 2])
def test_what_is_no_table_of_costs_is_refused(costs):
    with pytest.raises(UserError, match="WassersteinDice.costs=.*square"):
        WassersteinDice(costs=costs)


def test_costs_of_another_number_of_classes_are_refused(binary):
    with pytest.raises(UserError, match="costs has 3 rows, but the model 2 classes"):
        WassersteinDice(costs=COSTS)(*binary)
