import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy, Dice
from jaxseg.types import IGNORE


@pytest.mark.parametrize(
    "golden, loss",
    [
        (0.6842509564767137, Dice()),  # dice.monai softmax default(1e-5)
        (0.753506848928594, Dice(classes="foreground")),  # dice.monai softmax exclude_bg
        (0.6080105875174574, Dice(squared=True)),  # dice.monai softmax squared_pred
        (0.6842762452061338, Dice(batch=True)),  # dice.monai softmax batch=True
        (0.6670668547573633, Dice(smooth=1.0)),  # dice.monai softmax smooth 1/1
        # dice.formula nnunet soft dice (per-sample, smooth 1e-5, with bg), minus the mean
        (1 - 0.31574904352328637, Dice()),
        # dice.formula nnunet soft dice (batch_dice, smooth 1e-5, no bg), minus the mean
        (1 - 0.24628990187720062, Dice(batch=True, classes="foreground")),
        (0.6842763334477558, Dice(batch=True, smooth=0.0)),  # dice.smp multiclass
        (0.6670902761269651, Dice(batch=True, smooth=2.0)),  # dice.smp multiclass smooth=1: twice
        (0.6842511330143983, Dice(smooth=0.0)),  # dice.kornia macro
        # ummkd.dice loss = -mean_c 2I/(sum p^2+sum g+1e-7) batch
        (1 - 0.39187811768339875, Dice(squared=True, batch=True, smooth=0.0)),
    ],
)
def test_it_equals_monai_and_nnunet(tensor, golden: float, loss: Dice):
    assert abs(float(jax.jit(loss)(*tensor).mean()) - golden) < 1e-6


@pytest.mark.parametrize(
    "golden, loss",
    [
        (0.6075659083971002, Dice(classes="foreground")),  # dice.monai sigmoid binary
        # dice.monai sigmoid binary squared
        (0.5073795843095623, Dice(squared=True, classes="foreground")),
        # dice.smp binary
        (0.6078852353981374, Dice(smooth=0.0, classes="foreground", batch=True)),
        # dice.formula vnet (squared, per-image fg binary, no eps) 1-D mean
        (0.5073797053169443, Dice(squared=True, smooth=0.0, classes="foreground")),
    ],
)
def test_of_two_classes_it_is_the_binary_one_of_a_sigmoid(tensor, golden: float, loss: Dice):
    logits, label = tensor
    two = np.stack([-logits[..., 1] / 2, logits[..., 1] / 2], -1)
    assert abs(float(jax.jit(loss)(two, (label == 1).astype(np.int32)).mean()) - golden) < 1e-6


def test_its_gradient_is_monais(tensor):
    logits, label = tensor
    grad = jax.jit(jax.grad(lambda z: Dice()(z, label).mean()))(logits)
    golden = 0.017481341801634482  # gradnorm.dice_monai_like(per-sample,bg,1e-5)
    assert float(jnp.linalg.norm(grad)) == pytest.approx(golden, rel=1e-6)


def test_with_cross_entropy_it_is_monais_sum(tensor):
    total = jax.jit(CrossEntropy())(*tensor) + jax.jit(Dice())(*tensor)
    assert abs(float(total.mean()) - 2.3655313807164577) < 2e-6  # dicece.monai softmax default


def test_fractions_by_hand():
    # p = (3/4, 1/4) at both pixels, labels 0 and 1:
    # class 0: I = 3/4, P = 3/2, G = 1; class 1: I = 1/4, P = 1/2, G = 1.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 2, 2)).copy()
    label = np.int32([[0, 1]])
    plain = 1 - (1.5 / 2.5 + 0.5 / 1.5) / 2
    squared = 1 - (1.5 / (2 * 9 / 16 + 1) + 0.5 / (2 / 16 + 1)) / 2
    smooth = 1 - ((1.5 + 1) / (2.5 + 1) + (0.5 + 1) / (1.5 + 1)) / 2
    assert np.allclose(jax.jit(Dice(smooth=0.0))(logits, label), plain, rtol=1e-6)
    assert np.allclose(jax.jit(Dice(smooth=0.0, squared=True))(logits, label), squared, rtol=1e-6)
    assert np.allclose(jax.jit(Dice(smooth=1.0))(logits, label), smooth, rtol=1e-6)


def test_a_class_in_neither_label_nor_prediction_costs_nothing():
    label = np.zeros((1, 4, 4), np.int32)
    logits = np.zeros((1, 4, 4, 3), np.float32)
    logits[..., 0] = 200  # softmax is exactly 0 elsewhere
    for smooth in (0.0, 1e-5):
        assert np.allclose(jax.jit(Dice(smooth=smooth))(logits, label), 0, atol=1e-7)


def test_a_class_that_is_only_predicted_costs_one_third_of_three():
    label = np.zeros((1, 4, 4), np.int32)
    logits = np.zeros((1, 4, 4, 3), np.float32)
    logits[..., 0] = 200
    logits[0, 0, 0] = 0, 0, 200  # class 2 at one of 16 pixels
    expected = (1 - 30 / 31 + 0 + 1) / 3
    assert np.allclose(jax.jit(Dice())(logits, label), expected, atol=1e-4)


def test_over_the_batch_every_counted_row_has_the_same_value(tensor):
    logits, label = (np.concatenate([x, x]) for x in tensor)
    label[3] = IGNORE
    value = jax.jit(Dice(batch=True))(logits, label, valid=np.array([True, True, False, True]))
    golden = 0.6842762452061338  # dice.monai softmax batch=True, of the first two rows
    assert np.allclose(value, [golden, golden, 0, 0], atol=1e-6)


def test_leaving_out_the_only_class_is_refused():
    with pytest.raises(UserError, match="Dice.classes='foreground': .* of 1 class"):
        Dice(classes="foreground")(np.zeros((1, 2, 1), np.float32), np.zeros((1, 2), np.int32))


def test_bfloat16_logits_are_summed_in_float32():
    # 2^16 pixels: a bfloat16 sum of ones stops at 256.
    logits = jnp.zeros((1, 256, 256, 2), jnp.bfloat16)
    label = np.zeros((1, 256, 256), np.int32)
    assert math.isclose(float(jax.jit(Dice())(logits, label)[0]), 1 - (2 / 3) / 2, rel_tol=1e-4)
