import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy, Dice, Focal

CLASSES = Focal(average="classes")
RESTS = Focal(activation="sigmoid", average="classes")


@pytest.mark.parametrize(
    "golden, loss",
    [
        (1.3163399335121075, Focal()),  # focal.formula softmax mean over pixels
        (0.4387799799442291, CLASSES),  # focal.monai softmax g=2 to_onehot include_bg
        (0.43877997783736916, CLASSES),  # focal.kornia focal_loss a=None g=2 mean
        # focal.kornia focal_loss a=.25 g=2 mean
        (0.23094900910959518, Focal(average="classes", class_weights=(0.75, 0.25, 0.25))),
        (0.5077484250068665, RESTS),  # focal.monai sigmoid multiclass g=2 (3 one-vs-rest)
        (0.5077484717618671, RESTS),  # focal.smp multiclass g=2 alpha None
    ],
)
def test_it_equals_monai_kornia_and_smp(tensor, golden: float, loss: Focal):
    assert float(jax.jit(loss)(*tensor).mean()) == pytest.approx(golden, rel=1e-6)


@pytest.mark.parametrize(
    "golden, alpha",
    [
        (0.3046774660569523, 0.25),  # focal.torchvision sigmoid a=.25 g=2 mean
        (0.30467748641967773, 0.25),  # focal.monai sigmoid alpha=.25 g=2
        (0.30467746605695234, 0.25),  # focal.kornia binary a=.25 g=2 mean
        (0.30467746605695234, 0.25),  # focal.smp binary g=2 alpha .25
        (0.5162941606130855, None),  # focal.torchvision sigmoid a=-1 g=2 mean
        (0.5162941813468933, None),  # focal.monai sigmoid g=2 (alpha None) include_bg
        (0.5162941606130855, None),  # focal.smp binary g=2 alpha None
    ],
)
def test_of_two_classes_it_is_that_of_a_sigmoid(binary, golden: float, alpha: float | None):
    factors = None if alpha is None else (1 - alpha, alpha)
    value = jax.jit(Focal(class_weights=factors))(*binary).mean()
    assert float(value) == pytest.approx(golden, rel=1e-6)


def test_divided_by_its_focus_it_is_ritms_normalised_loss(binary):
    loss = Focal(average="focus", class_weights=(0.5, 0.5))
    golden = 0.7754078622038276  # ritm.NFL alpha=.5 gamma=2 mean over batch
    assert float(jax.jit(loss)(*binary).mean()) == pytest.approx(golden, rel=1e-6)


def test_monai_without_background_is_the_softmax_of_the_other_classes_alone(tensor):
    logits, label = tensor
    value = CLASSES(logits[..., 1:], label - 1) * (label > 0).mean((1, 2))  # 0 becomes IGNORE
    golden = 0.14886482059955597  # focal.monai softmax g=2 exclude_bg
    assert float(value.mean()) == pytest.approx(golden, rel=1e-6)


def test_without_background_its_pixels_still_count_in_the_divisor():
    # p = (3/4, 1/4), labels 0 and 1: (3/4)^2 ln 4 at one pixel of two.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 2, 2)).copy()
    expected = (3 / 4) ** 2 * math.log(4) / 2
    assert np.allclose(
        jax.jit(Focal(classes="foreground"))(logits, np.int32([[0, 1]])), expected, rtol=1e-6
    )


def test_with_dice_it_is_monais_sum(tensor):
    total = jax.jit(Dice())(*tensor) + jax.jit(RESTS)(*tensor)
    assert float(total.mean()) == pytest.approx(1.1919993814835803, rel=1e-6)  # dicefocal.monai


def test_its_gradient_is_that_of_torch(tensor):
    logits, label = tensor
    grad = jax.jit(jax.grad(lambda z: Focal()(z, label).mean()))(logits)
    golden = 0.09590585469760786  # gradnorm.focal_softmax g2 sum_c/mean
    assert float(jnp.linalg.norm(grad)) == pytest.approx(golden, rel=1e-6)


def test_without_focus_it_is_the_cross_entropy(tensor):
    np.testing.assert_allclose(
        jax.jit(Focal(gamma=0.0))(*tensor), jax.jit(CrossEntropy())(*tensor), rtol=1e-6
    )


def test_one_pixel_by_hand():
    logits, label = np.log(np.float32([[[3, 1]]])), np.int32([[1]])  # p = 1/4
    assert np.allclose(jax.jit(Focal())(logits, label), (3 / 4) ** 2 * math.log(4), rtol=1e-6)
    assert np.allclose(
        jax.jit(Focal(gamma=0.5))(logits, label), (3 / 4) ** 0.5 * math.log(4), rtol=1e-6
    )


def test_a_root_has_a_finite_gradient_where_nothing_is_wrong():
    label = np.int32([[0, 1]])
    logits = 50 * (2 * jnp.eye(2)[label] - 1)
    grad = jax.jit(jax.grad(lambda z: Focal(gamma=0.5)(z, label).sum()))(logits)
    assert np.all(np.isfinite(grad))


def test_what_cannot_be_is_refused(tensor):
    with pytest.raises(UserError, match="Focal.gamma=-1.0: must be at least 0"):
        Focal(gamma=-1.0)
    with pytest.raises(UserError, match="Focal.class_weights has 2 numbers, but the model 3"):
        Focal(class_weights=(1.0, 2.0))(*tensor)
