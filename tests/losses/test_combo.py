import math

import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import Combo


@pytest.mark.parametrize(
    "golden, loss",
    [
        # combo.formula alpha=.5 beta=0.5 smooth=1: a*CE-(1-a)*Dice
        (0.03030862522427366, Combo()),
        # combo.formula alpha=.5 beta=0.4 smooth=1: a*CE-(1-a)*Dice
        (0.04689586536668422, Combo(beta=0.4)),
    ],
)
def test_it_is_the_paper_s_and_one_half(binary, as_one, golden: float, loss: Combo):
    assert float(jax.jit(loss)(*as_one(binary))[0]) == pytest.approx(golden + 0.5, rel=1e-6)


def test_three_classes_by_hand():
    # p = (1/2, 1/4, 1/4) at one pixel of class 1; without class 0.
    logits, label = np.log(np.float32([[[2, 1, 1]]])), np.int32([[1]])
    entropy = -(0.7 * math.log(1 / 4) + 0.3 * math.log(3 / 4)) / 2
    dice = (2 * (1 / 4) / (5 / 4) + 0) / 2
    loss = Combo(alpha=0.2, beta=0.7, smooth=0.0)
    assert np.allclose(jax.jit(loss)(logits, label), 0.2 * entropy + 0.8 * (1 - dice), rtol=1e-6)


def test_what_is_no_mixture_is_refused():
    with pytest.raises(UserError, match=r"Combo.beta=1.5: must be in \[0, 1\]"):
        Combo(beta=1.5)
