import math

import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import UnifiedFocal


def test_it_equals_monai(binary):
    loss = UnifiedFocal(delta=0.7, smooth=1e-7, average="classes")
    golden = 0.3932764019710019  # asymunifiedfocal.monai binary2ch
    assert float(jax.jit(loss)(*binary).mean()) == pytest.approx(golden, rel=1e-6)


def test_two_pixels_by_hand():
    # p = (3/4, 1/4), labels 0, 1; class 0: TP 3/4, FP 3/4, FN 1/4; class 1: TP 1/4, FP 1/4, FN 3/4.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 2, 2)).copy()
    focal = (0.4 * (1 / 4) ** 0.25 * math.log(4 / 3) + 0.6 * math.log(4)) / 2
    first = 1 - 0.75 / (0.75 + 0.6 * 0.25 + 0.4 * 0.75)
    second = 1 - 0.25 / (0.25 + 0.6 * 0.75 + 0.4 * 0.25)
    expected = 0.3 * focal + 0.7 * (first + second**0.75) / 2
    loss = UnifiedFocal(share=0.3, gamma=0.25, smooth=0.0)
    assert np.allclose(jax.jit(loss)(logits, np.int32([[0, 1]])), expected, rtol=1e-6)


def test_a_power_that_grows_at_zero_is_refused():
    with pytest.raises(UserError, match=r"UnifiedFocal.gamma=1.0: must be in \[0, 1\)"):
        UnifiedFocal(gamma=1.0)
