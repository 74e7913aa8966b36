"""The maximum along axes, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import greatest

X = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)


@pytest.mark.parametrize("axes", [(-1,), (1, 2)])
def test_it_is_the_maximum_and_its_gradient_that_of_the_maximum(axes):
    def ours(x):
        return jnp.sin(greatest(x, axes)).sum()

    def theirs(x):
        return jnp.sin(x.max(axes, keepdims=True)).sum()

    x = jnp.asarray(X)
    np.testing.assert_array_equal(greatest(x, axes), X.max(axes, keepdims=True))
    np.testing.assert_allclose(jax.grad(ours)(x), jax.grad(theirs)(x), rtol=1e-6)


def test_of_equal_numbers_the_first_has_the_whole_gradient():
    gradient = jax.grad(lambda x: greatest(x, (0, 1)).sum())(jnp.zeros((2, 3)))
    np.testing.assert_array_equal(gradient, [[1, 0, 0], [0, 0, 0]])
