import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import SensitivitySpecificity


def test_it_equals_the_formula(binary):
    golden = 0.33306970360399835  # ssl.brosch binary (lambda_sens=.05 Brosch) mean per image
    value = jax.jit(SensitivitySpecificity())(*binary).mean()
    assert float(value) == pytest.approx(golden, rel=1e-6)


def test_three_pixels_by_hand():
    # p = (3/4, 1/4), labels 0, 0, 1: missed (3/4)^2 of class 1, excess (1/4)^2 on class 0.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 3, 2)).copy()
    value = jax.jit(SensitivitySpecificity(sensitivity=0.2))(logits, np.int32([[0, 0, 1]]))
    assert np.allclose(value, 0.2 * 9 / 16 + 0.8 / 16, rtol=1e-6)


def test_what_is_no_share_is_refused():
    with pytest.raises(UserError, match=r"sensitivity=1.5: must be in \[0, 1\]"):
        SensitivitySpecificity(sensitivity=1.5)
