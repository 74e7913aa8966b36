import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy, DistancePenalized
from jaxseg.losses.distance_penalized import penalty
from jaxseg.losses.targets import targets

penalties = jax.jit(lambda logits, label: penalty(targets(logits, label)))


def test_it_equals_the_formula(binary, platform):
    golden = 1.5698430099487746  # distpenCE.formula mean((1+phi)*CE) binary
    assert float(jax.jit(DistancePenalized())(*binary).mean()) == pytest.approx(golden, rel=1e-6)
    golden = 93.26594973652931  # distpenCE.phi sum
    assert float(penalties(*binary).sum()) == pytest.approx(golden, rel=1e-6)


def test_the_penalty_falls_from_the_edge_inwards(platform):
    label = np.int32([[0, 0, 0, 0, 1, 1, 2, 2, 2]])
    t = targets(np.zeros((1, 9, 3), np.float32), label)
    expected = [0, 1 / 3, 2 / 3, 1, 1, 1, 1, 1 / 2, 0]  # class 1 is edge alone
    np.testing.assert_allclose(jax.jit(penalty)(t)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(
        jax.jit(penalty, static_argnums=1)(t, (5.0,))[0], expected, rtol=1e-6
    )


def test_of_one_class_it_is_the_cross_entropy(tensor):
    logits, label = tensor
    label = np.ones_like(label)
    np.testing.assert_allclose(
        jax.jit(DistancePenalized())(logits, label), jax.jit(CrossEntropy())(logits, label)
    )


def test_class_weights_are_divided_by_those_of_the_pixels(tensor):
    logits, label = tensor
    factors = (0.2, 0.3, 0.5)
    plain = CrossEntropy(class_weights=factors)
    loss = jax.jit(DistancePenalized(class_weights=factors))(logits, label)
    weighted = jax.jit(plain)(logits, label, weights=1 + np.asarray(penalties(logits, label)))
    u = np.float32(factors)[label]
    share = (u * (1 + penalties(logits, label))).sum((1, 2)) / u.sum((1, 2))
    np.testing.assert_allclose(loss, weighted * share, rtol=1e-5)


def test_class_weights_of_another_number_of_classes_are_refused(tensor):
    with pytest.raises(UserError, match="DistancePenalized.class_weights has 1 numbers"):
        DistancePenalized(class_weights=(1.0,))(*tensor)
