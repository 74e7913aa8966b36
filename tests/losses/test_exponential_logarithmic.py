import math

import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import ExponentialLogarithmic


@pytest.mark.parametrize(
    "golden, loss",
    [
        # explog.formula L_dice=E[(-ln Dice_i)^0.3] (batch, all classes, eps 1e-5)
        (1.0489930229801487, ExponentialLogarithmic(dice=1.0, cross=0.0, batch=True)),
        # explog.formula L_cross=E[w_l(-ln p_l)^0.3], w_l=(sum f/f_l)^0.5
        (1.8016284213372893, ExponentialLogarithmic(dice=0.0, cross=1.0, batch=True)),
        # explog.formula 0.8*Ldice+0.2*Lcross
        (1.199520102651577, ExponentialLogarithmic(batch=True)),
        # dice.smp multiclass log: the logarithm alone
        (
            1.2048811177239755,
            ExponentialLogarithmic(dice=1.0, cross=0.0, gamma=1.0, smooth=1e-7, batch=True),
        ),
    ],
)
def test_it_equals_the_formula_and_smp(tensor, golden: float, loss: ExponentialLogarithmic):
    assert float(jax.jit(loss)(*tensor).mean()) == pytest.approx(golden, rel=1e-6)


def test_two_pixels_by_hand():
    # p = (3/4, 1/4), labels 0, 1: Dice 3/5 and 1/3, and both classes weigh sqrt 2.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 2, 2)).copy()
    label = np.int32([[0, 1]])
    dice = (math.log(5 / 3) ** 0.5 + math.log(3) ** 0.5) / 2
    cross = math.sqrt(2) * (math.log(4 / 3) ** 0.5 + math.log(4) ** 0.5) / 2
    loss = ExponentialLogarithmic(dice=0.3, cross=0.6, gamma=0.5, smooth=1e-9)
    assert np.allclose(jax.jit(loss)(logits, label), 0.3 * dice + 0.6 * cross, rtol=1e-6)
    given = ExponentialLogarithmic(dice=0.0, cross=1.0, gamma=0.5, class_weights=(1.0, 3.0))
    expected = (math.log(4 / 3) ** 0.5 + 3 * math.log(4) ** 0.5) / 2
    assert np.allclose(jax.jit(given)(logits, label), expected, rtol=1e-6)


def test_the_logarithm_of_nothing_is_refused():
    with pytest.raises(UserError, match="ExponentialLogarithmic.smooth=0.0: must be above 0"):
        ExponentialLogarithmic(smooth=0.0)


def test_an_absent_class_costs_what_float64_says():
    # Class 2 is absent, and each of 32 x 32 pixels gives it a third: P = 1024 / 3.
    label = np.zeros((1, 32, 32), np.int32)
    label[:, :16] = 1
    n, smooth = 32 * 32, 1e-5
    dice = [2 * n / 6 + smooth, 2 * n / 6 + smooth, smooth]
    dice = [d / (n / 3 + g + smooth) for d, g in zip(dice, (n / 2, n / 2, 0), strict=True)]
    expected = sum((-math.log(d)) ** 0.3 for d in dice) / 3
    loss = ExponentialLogarithmic(dice=1.0, cross=0.0)
    grad, value = jax.jit(jax.grad(lambda z: (loss(z, label)[0],) * 2, has_aux=True))(
        np.zeros((1, 32, 32, 3), np.float32)
    )
    assert float(value) == pytest.approx(expected, rel=1e-5) and np.isfinite(grad).all()
