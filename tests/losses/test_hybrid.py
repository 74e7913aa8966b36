import math

import jax
import numpy as np
import pytest

from jaxseg.losses import CrossEntropy, Dice, Hybrid


def test_it_is_the_paper_s_and_one(tensor):
    # hybrid.unet++TMI eq
    assert float(jax.jit(Hybrid())(*tensor).mean()) - 1 == pytest.approx(
        1.1910166539246587, rel=1e-6
    )


def test_the_keras_code_is_a_sum_of_two_losses(binary, as_one):
    pair = as_one(binary)
    dice = jax.jit(Dice(smooth=1.0, classes="foreground"))(*pair)[0]
    # dice.formula keras unet++ dice_coef smooth=1 flatten-all (coef)
    assert 1 - float(dice) == pytest.approx(0.39784065708613586, rel=1e-6)
    total = 0.5 * jax.jit(CrossEntropy())(*pair)[0] + dice - 1
    # dice.formula unet++ keras bce_dice = 0.5*bce - dice_coef; 1e-6 of its terms
    assert float(total) == pytest.approx(0.06061725044854738, abs=1e-6)


def test_class_weights_are_divided_by_those_of_the_pixels():
    # p = (3/4, 1/4), labels 0, 0, 1: 2 p / (1 + p^2) = 24/25 and 8/17; weights 1 and 4.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 3, 2)).copy()
    first, second = math.log(4 / 3) + 1 / 25, math.log(4) + 9 / 17
    expected = (2 * first + 4 * second) / (2 + 4)
    loss = Hybrid(class_weights=(1.0, 4.0))
    assert np.allclose(jax.jit(loss)(logits, np.int32([[0, 0, 1]])), expected, rtol=1e-6)
