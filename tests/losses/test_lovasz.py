import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import LovaszHinge, LovaszSoftmax
from jaxseg.losses.lovasz import extension
from jaxseg.types import IGNORE


@pytest.mark.parametrize(
    "golden, loss",
    [
        (0.749575821230949, LovaszSoftmax(batch=True)),  # lovasz_softmax.berman present per_batch
        (0.749296598367114, LovaszSoftmax()),  # lovasz_softmax.berman per_image
        # lovasz_softmax.berman classes=[1,2]
        (0.7858367504032873, LovaszSoftmax(batch=True, classes=(1, 2))),
        (0.7495757937431335, LovaszSoftmax(batch=True)),  # lovasz.smp multiclass f32
        (0.7492965459823608, LovaszSoftmax()),  # lovasz.smp multiclass per_image f32
        (0.7492966651916504, LovaszSoftmax()),  # lovasz.kornia softmax f32
    ],
)
def test_the_softmax_equals_berman_smp_and_kornia(tensor, golden: float, loss: LovaszSoftmax):
    assert float(jax.jit(loss)(*tensor).mean()) == pytest.approx(golden, rel=1e-6)


def test_it_ignores_as_bermans_code_does(tensor):
    logits, label = tensor
    value = jax.jit(LovaszSoftmax(batch=True))(logits, np.where(label == 0, IGNORE, label))
    golden = 0.7466232322608795  # lovasz_softmax.berman ignore=0
    assert float(value.mean()) == pytest.approx(golden, rel=1e-6)


@pytest.mark.parametrize(
    "golden, loss",
    [
        (1.9403314618457634, LovaszHinge()),  # lovasz_hinge.berman per_image
        (1.9458242549544211, LovaszHinge(batch=True)),  # lovasz_hinge.berman per_batch
        (1.945824146270752, LovaszHinge(batch=True)),  # lovasz.smp binary f32
        (1.9403314590454102, LovaszHinge()),  # lovasz.kornia hinge f32
    ],
)
def test_the_hinge_equals_berman_smp_and_kornia(binary, golden: float, loss: LovaszHinge):
    assert float(jax.jit(loss)(*binary).mean()) == pytest.approx(golden, rel=1e-6)


def test_their_gradients_are_those_of_bermans_code(tensor, binary):
    # The tensor has pixels with equal errors, where any order gives a subgradient: 1e-3. (Berman's
    # code in torch's float32 is 6e-4 from the same in float64, which is the golden.)
    logits, label = tensor
    grad = jax.jit(jax.grad(lambda z: LovaszSoftmax(batch=True)(z, label).mean()))(logits)
    golden = 0.015385026760515952  # gradnorm.lovasz_softmax present per_batch
    assert float(jnp.linalg.norm(grad)) == pytest.approx(golden, rel=1e-3)
    value = lambda z: LovaszHinge()(jnp.stack([-z / 2, z / 2], -1), binary[1]).mean()  # noqa: E731
    golden = 0.10991967943923399  # gradnorm.lovasz_hinge per_image
    grad = jax.jit(jax.grad(value))(logits[..., 1])
    assert float(jnp.linalg.norm(grad)) == pytest.approx(golden, rel=1e-3)


def test_in_float64_where_no_errors_are_equal_the_gradient_is_bermans():
    # (Of the softmax, 54 pairs are equal up to the last digit of torch's own exponential.)
    n, h, w = np.meshgrid(*map(np.arange, (2, 8, 8)), indexing="ij")
    logit = 2 * np.sin(0.7 * n + 1.3 + 0.9 * h + 1.7 * w + 0.1 * h * w)
    truth = ((h - 3) ** 2 + (w - 2 - n) ** 2 <= 5) & ((h - 5) ** 2 + (w - 6) ** 2 > 2)
    with jax.enable_x64(True):
        truth = jnp.asarray(truth.reshape(2, -1), float)

        def value(z):
            return extension(1 - z * (2 * truth - 1), truth, jnp.ones(truth.shape)).mean()

        grad = jax.grad(value)(jnp.asarray(logit.reshape(2, -1)))
        golden = 0.10991967943923399  # gradnorm.lovasz_hinge per_image
        assert float(jnp.linalg.norm(grad)) == pytest.approx(golden, rel=1e-12)


def test_where_errors_differ_the_gradient_is_the_growth_of_the_jaccard_loss():
    rng = np.random.default_rng(0)
    errors = rng.permutation(np.linspace(0.01, 0.99, 60)).astype(np.float32)
    truth = (rng.random(60) < 0.3).astype(np.float32)
    given = jnp.asarray(truth), jnp.ones(60)
    grad = jax.jit(jax.grad(lambda e: extension(e, *given)))(jnp.asarray(errors))
    order = np.argsort(-errors)
    missed, excess = (np.cumsum(x[order], dtype=float) for x in (truth, 1 - truth))
    jaccard = 1 - (truth.sum() - missed) / (truth.sum() + excess)
    np.testing.assert_allclose(grad[order], np.diff(jaccard, prepend=0), rtol=1e-5, atol=1e-7)


def test_at_errors_of_zero_and_one_the_extension_is_the_jaccard_loss():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (5, 20)).astype(np.float32)
    found = rng.integers(0, 2, (5, 20)).astype(np.float32)
    weights = rng.uniform(0.5, 2, (5, 20)).astype(np.float32)
    both = (weights * np.minimum(truth, found)).sum(-1)
    either = (weights * np.maximum(truth, found)).sum(-1)
    value = jax.jit(extension)(*map(jnp.asarray, (np.abs(truth - found), truth, weights)))
    np.testing.assert_allclose(value, 1 - both / either, rtol=1e-5)


def test_classes_that_are_absent_count_where_they_are_asked_for():
    # p = 1/3 each, all labels 0: class 0 costs 2/3, and the absent ones 1/3 each.
    logits, label = np.zeros((1, 4, 3), np.float32), np.zeros((1, 4), np.int32)
    assert np.allclose(jax.jit(LovaszSoftmax())(logits, label), 2 / 3, rtol=1e-6)
    expected = (2 / 3 + 1 / 3 + 1 / 3) / 3
    assert np.allclose(jax.jit(LovaszSoftmax(classes="all"))(logits, label), expected, rtol=1e-6)


def test_the_margin_of_many_classes_is_the_logit_of_their_softmax():
    # p = (1/2, 1/4, 1/4), label 1: the margins of 1 and 2 are -ln 3, of an error 1 + ln 3, 1 - ln 3
    logits, label = np.log(np.float32([[[2, 1, 1]]])), np.int32([[1]])
    expected = (1 + np.log(3) + 0) / 2
    assert np.allclose(jax.jit(LovaszHinge())(logits, label), expected, rtol=1e-6)


def test_leaving_out_the_only_class_is_refused():
    with pytest.raises(UserError, match="LovaszHinge.classes='foreground'"):
        LovaszHinge()(np.zeros((1, 2, 1), np.float32), np.zeros((1, 2), np.int32))
