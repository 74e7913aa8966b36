"""CRF-RNN: the dense CRF at first, with weights that are learnt."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.crf import DenseCRF
from jaxseg.errors import UserError
from jaxseg.layers.crf_rnn import CRFRNN

STORE = np.load(Path(__file__).parent.parent / "golden" / "crf.npz")
IMAGE, LOGITS = jnp.asarray(STORE["image"][None]), jnp.asarray(STORE["logits"][None])
CRF = DenseCRF(
    iterations=3, place=2.0, far=10.0, colour=20.0, weight=5.0, normalise="after", kernel="exact"
)
LAYER = CRFRNN(CRF, iterations=2)


def test_at_first_it_is_the_dense_crf_with_other_numbers_of_iterations():
    @jax.jit
    def run(logits, image):
        variables = LAYER.init(jax.random.key(0), logits, image, train=False)
        ours = [LAYER.apply(variables, logits, image, train=train) for train in (False, True)]
        return ours, [CRF(logits, image), dataclasses.replace(CRF, iterations=2)(logits, image)]

    for ours, known in zip(*run(LOGITS, IMAGE), strict=True):
        np.testing.assert_allclose(ours, known, atol=1e-4)


@pytest.mark.parametrize("kernel", ["lattice", "exact"])
def test_the_gradient_reaches_weights_and_logits(kernel):
    layer = CRFRNN(dataclasses.replace(CRF, kernel=kernel), iterations=2)
    variables = layer.init(jax.random.key(0), LOGITS, IMAGE, train=True)

    @jax.jit
    def both(variables, logits):
        def loss(variables, logits):
            q = jax.nn.softmax(layer.apply(variables, logits, IMAGE, train=True))
            return jnp.square(q[..., 0]).sum()

        gradient = jax.grad(loss, (0, 1))(variables, logits)
        step = jax.tree.map(lambda g: 1e-2 * g / jnp.abs(g).max(), gradient)
        ahead, behind = (
            loss(*jax.tree.map(lambda x, s, sign=sign: x + sign * s, (variables, logits), step))
            for sign in (1, -1)
        )
        slope = jax.tree.reduce(jnp.add, jax.tree.map(lambda g, s: (g * s).sum(), gradient, step))
        return gradient, ahead - behind, 2 * slope

    gradient, difference, slope = both(variables, LOGITS)
    assert all(abs(g).max() > 0 for g in jax.tree.leaves(gradient))
    np.testing.assert_allclose(difference, slope, rtol=0.02)


def test_a_volume_is_refused():
    with pytest.raises(UserError, match="crf: is of 2-D images"):
        CRFRNN().init(
            jax.random.key(0), jnp.zeros((1, 4, 4, 4, 2)), jnp.zeros((1, 4, 4, 4, 3)), train=False
        )
