import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import Dice
from jaxseg.losses.targets import chosen, ratio, targets
from jaxseg.types import IGNORE


def test_what_does_not_count_is_zero_everywhere():
    logits = np.full((2, 3, 2), np.nan, np.float32)
    logits[0, 0] = 1, 2
    label = np.array([[1, IGNORE, IGNORE], [0, 0, 0]], np.int32)
    t = targets(logits, label, valid=np.array([True, False]))
    assert t.logits[0, 0].tolist() == [1, 2] and t.logits.sum() == 3
    assert t.one_hot[0, 0].tolist() == [0, 1] and t.one_hot.sum() == 1
    assert t.pixels.tolist() == [[1, 0, 0], [0, 0, 0]]


def test_pixels_carry_their_weights():
    label, weights = np.array([[0, IGNORE]], np.int32), np.array([[3.0, 5.0]], np.float32)
    t = targets(np.zeros((1, 2, 2), np.float32), label, weights=weights)
    assert t.pixels.tolist() == [[3, 0]]


def test_an_empty_ratio_has_no_gradient():
    value, grad = jax.value_and_grad(lambda a, b: ratio(a, b, empty=1.0), argnums=(0, 1))(0.0, 0.0)
    assert value == 1 and grad == (0, 0)
    assert ratio(jnp.float32(1), jnp.float32(4), empty=1.0) == 0.25


@pytest.mark.parametrize(
    "classes, expected", [("all", [1, 2, 3]), ("foreground", [2, 3]), ((2, 0), [3, 1]), ((1,), [2])]
)
def test_a_loss_takes_the_classes_that_are_named(classes, expected):
    assert chosen(Dice(classes=classes), jnp.asarray([1.0, 2.0, 3.0])).tolist() == expected


@pytest.mark.parametrize("classes", [(), (3,), (-1,), (1, 1)])
def test_classes_that_are_not_there_are_refused(classes):
    with pytest.raises(UserError, match=r"Dice\.classes=.*: must be different numbers of 0 to 2"):
        chosen(Dice(classes=classes), jnp.zeros(3))
