"""Dense upsampling convolution: shape, counts, one pixel's block."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.layers.dense_upsampling import DenseUpsampling


def test_a_pixel_predicts_the_classes_of_its_block():
    layer, x = DenseUpsampling(19, kernel_size=1), jnp.zeros((1, 3, 4, 2))
    variables = layer.init(jax.random.key(0), x)
    run = jax.jit(layer.apply)
    assert sum(a.size for a in jax.tree.leaves(variables)) == (2 + 1) * 19 * 64
    y = np.asarray(run(variables, x.at[0, 1, 2].set(1.0)) - run(variables, x))
    assert y.shape == (1, 24, 32, 19)
    inside = np.zeros((24, 32), bool)
    inside[8:16, 16:24] = True
    assert ((y[0] != 0).any(-1) == inside).all()
