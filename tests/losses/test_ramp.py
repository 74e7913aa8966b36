import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import Boundary, Loss, Ramp


def test_it_is_a_straight_line_and_then_level():
    ramp = Ramp(start=0.01, end=1.0, steps=100)
    values = [float(jax.jit(ramp.at)(n)) for n in (0, 50, 100, 1000)]
    np.testing.assert_allclose(values, [0.01, 0.505, 1.0, 1.0], rtol=1e-6)
    assert float(Ramp(1.0, 0.0, 4).at(1)) == 0.75


def test_a_loss_may_have_one_for_its_weight():
    assert isinstance(Boundary(weight=Ramp(0.01, 1.0, 10)), Loss)


def test_a_ramp_without_a_length_is_refused():
    with pytest.raises(UserError, match="Ramp.steps=0: must be at least 1"):
        Ramp(0.0, 1.0, 0)
