"""Convolutions; their numbers stand in test_golden."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers import Conv, TransposedConv


@pytest.mark.parametrize("layer", [Conv(256), TransposedConv(256)])
def test_weights_keep_the_mean_square_through_a_relu(layer):
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 12, 12, 128)))
    variables = layer.init(jax.random.key(1), x)
    y = jax.nn.relu(layer.apply(variables, x))[:, 2:-2, 2:-2]  # away from the zeros of padding
    assert jnp.square(y).mean() == pytest.approx(float(jnp.square(x).mean()), rel=0.15)
    assert not variables["params"]["bias"].any()


def test_the_compute_dtype_is_the_inputs():
    x = jnp.zeros((1, 4, 4, 2), jnp.bfloat16)
    y, variables = Conv(3).init_with_output(jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_one_number_an_axis_is_accepted_and_checked():
    x = jnp.zeros((1, 8, 8, 6, 2))
    y, variables = Conv(3, kernel_size=(1, 3, 3), stride=(1, 2, 2)).init_with_output(
        jax.random.key(0), x
    )
    assert y.shape == (1, 8, 4, 3, 3)
    assert variables["params"]["kernel"].shape == (1, 3, 3, 2, 3)
    with pytest.raises(UserError, match=r"stride=\(2, 2\) has 2 numbers; the image has 3 axes"):
        Conv(3, stride=(2, 2)).init(jax.random.key(0), x)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match=r"groups=4 does not divide both 6 .* 2 does"):
        Conv(8, groups=4).init(jax.random.key(0), jnp.zeros((1, 4, 4, 6)))


ABORTED = """
import jax, jax.numpy as jnp
from jaxseg.layers import Conv, TransposedConv
from jaxseg.layers.transposed import _whole, _How
kernel = jnp.ones((3, 2, 4, 4))
how = _How((2, 2), (3, 2), (1, 1), (0, 0), 1)
print(jax.jit(lambda x: _whole(how, x, kernel))(jnp.ones((1, 2, 4, 4)))[0, ..., 0].tolist())
layer, x = Conv(8, (3, 2), stride=(4, 2), padding=1, dilation=(2, 1)), jnp.ones((1, 6, 6, 16))
params = {"params": {"kernel": jnp.ones((3, 2, 16, 8)), "bias": jnp.zeros(8)}}
print(jax.jit(jax.grad(lambda x: layer.apply(params, x).sum()))(x)[0, ..., 0].tolist())
"""


def test_what_aborted_inside_xla_has_its_values_and_gradients():
    env = {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    done = subprocess.run([sys.executable, "-c", ABORTED], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-500:]
    transposed, gradient = map(json.loads, done.stdout.splitlines())
    # row i of two reaches rows 2 i - 1 to 2 i + 1 of three; 4 channels
    np.testing.assert_array_equal(transposed, np.outer([4, 8, 4], np.ones(6)))
    # one row of windows, whose taps lie at rows -1, 1 and 3; 8 features
    np.testing.assert_array_equal(gradient, np.outer([0, 8, 0, 8, 0, 0], np.ones(6)))
