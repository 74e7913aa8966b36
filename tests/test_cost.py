"""MACs and parameters agree with torch's counts and with counting by hand."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.layers import Conv, TransposedConv
from jaxseg.ops import enlarge, resize


def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def macs_of(layer, x) -> int:
    variables = jax.eval_shape(lambda x: layer.init(jax.random.key(0), x), x)
    return cost.macs(layer.apply, variables, x)


@pytest.mark.parametrize(
    ("layer", "size", "by_hand"),
    [
        (Conv(8), (2, 5, 6, 3), 2 * 5 * 6 * 8 * 9 * 3),
        (Conv(8, stride=2), (1, 5, 6, 3), 3 * 3 * 8 * 9 * 3),
        (Conv(8, groups=4), (1, 5, 6, 4), 5 * 6 * 8 * 9),
        (Conv(8, kernel_size=1), (1, 5, 6, 3), 5 * 6 * 8 * 3),
        (Conv(8), (1, 4, 5, 6, 3), 4 * 5 * 6 * 8 * 27 * 3),
        (Conv(8), (1, 4, 5, 6, 9), 4 * 5 * 6 * 8 * 27 * 9),
        (TransposedConv(8), (1, 5, 6, 3), 5 * 6 * 4 * 3 * 8),
        (TransposedConv(8), (1, 5, 6, 2, 3), 5 * 6 * 2 * 8 * 3 * 8),
    ],
)
def test_a_layer_costs_what_a_hand_counts(layer, size, by_hand):
    assert macs_of(layer, shape(*size)) == by_hand


def test_a_transposed_convolution_of_xla_costs_what_its_matmul_form_does():
    def transposed(x, kernel):
        return jax.lax.conv_transpose(x, kernel, (2, 2), "SAME")

    assert cost.macs(transposed, shape(1, 5, 6, 3), shape(2, 2, 3, 8)) == 5 * 6 * 4 * 3 * 8


def test_interpolation_costs_nothing():
    x = shape(1, 5, 6, 3)
    assert cost.macs(lambda x: enlarge(x, 2, "linear"), x) == 0
    assert cost.macs(lambda x: resize(x, (9, 4), "linear"), x) == 0
    assert cost.macs(lambda x: jax.image.resize(x, (1, 9, 4, 3), "linear"), x) == 0


def test_what_no_result_depends_on_costs_nothing():
    assert cost.macs(lambda x: (x @ x, x)[1], shape(4, 4)) == 0


def test_counting_looks_inside_jit_remat_scan_and_branches():
    x = shape(4, 4)

    def dot(x):
        return x @ x

    assert cost.macs(jax.jit(dot), x) == 64
    assert cost.macs(jax.checkpoint(dot), x) == 64
    assert cost.macs(lambda x: jax.lax.scan(lambda c, _: (dot(c), None), x, None, 5)[0], x) == 320
    assert cost.macs(lambda x: jax.lax.cond(x[0, 0] > 0, dot, lambda x: x, x), x) == 64
    both = jax.value_and_grad(lambda x: dot(x).sum())
    assert cost.macs(both, x) == 3 * 64  # one forward, two back


def test_parameters_leave_running_statistics_out():
    variables = {"params": {"a": jnp.zeros((2, 3)), "b": {"c": jnp.zeros(4)}}}
    assert cost.parameters(variables | {"batch_stats": {"mean": jnp.zeros(9)}}) == 10
