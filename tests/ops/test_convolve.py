"""The forms of convolution: each equals XLA's own, value and gradient (numbers: test_golden)."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import How

convolve = importlib.import_module("jaxseg.ops.convolve")  # the name in ops is the function


def agree(form, x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], how: How) -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    x, kernel = (
        jax.random.normal(k, s) for k, s in zip(keys, (x_shape, kernel_shape), strict=True)
    )

    def value_and_gradient(form):
        def total(x, kernel):
            y = form(x, kernel, how)
            return jnp.sin(y).sum(), y

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(x, kernel)

    ours, theirs = value_and_gradient(form), value_and_gradient(convolve._convolve)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(10, float(abs(b).max())))


@pytest.mark.parametrize("channels", [2, 12])
@pytest.mark.parametrize("how", [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 0, 1)])
def test_planes_are_the_volume_convolution(channels: int, how: tuple[int, int, int]):
    how = How(*((n,) * 3 for n in how))
    agree(convolve._planes_summed, (2, 7, 8, 6, channels), (3, 3, 3, channels, 4), how)


@pytest.mark.parametrize("padding", [(1, 1, 1), (0, 2, 1), (2, 0, 0)])
@pytest.mark.parametrize("size", [(3, 3, 3), (2, 1, 3)])
def test_planes_side_by_side_are_the_volume_convolution(padding, size):
    how = How((1,) * 3, padding, (1,) * 3)
    agree(convolve._planes_side_by_side, (2, 5, 6, 4, 12), (*size, 12, 4), how)


@pytest.mark.parametrize(
    ("size", "padding"), [((3, 3), (1, 1)), ((3, 2), (0, 1)), ((5, 1), (2, 0))]
)
def test_a_narrowing_convolution_has_the_gradient_of_the_plain_one(size, padding):
    how = How((1, 1), padding, (1, 1))
    agree(convolve._narrowing, (2, 7, 8, 6), (*size, 6, 4), how)


@pytest.mark.parametrize(("size", "padding"), [((4, 4, 4), 2), ((1, 2, 3), 2), ((6, 3), 3)])
def test_a_kernel_larger_than_the_image_is_the_plain_convolution(size, padding):
    rank = len(size)
    how, kernel = How(*((n,) * rank for n in (1, padding, 1))), (2 * padding + 1,) * rank
    x, k = jnp.zeros((2, *size, 3)), jnp.zeros((*kernel, 3, 4))
    if rank == 2:
        assert convolve._form_on_cpu(x, k, how) is convolve._apart
    agree(convolve._form_on_cpu(x, k, how), x.shape, k.shape, how)


@pytest.mark.parametrize(("groups", "features"), [(1, 3), (2, 6), (4, 8)])  # the last, depthwise
@pytest.mark.parametrize(
    ("x", "size", "how"),
    [
        ((9, 8), (3, 3), ((1, 1), (2, 2), (2, 2))),
        ((9, 8), (3, 3), ((1, 1), (12, 12), (12, 12))),  # taps that see padding alone
        ((9, 8), (3, 2), ((1, 1), (3, 0), (3, 1))),
        ((9, 8), (2, 3), ((1, 1), (1, 4), (2, 3))),
        ((5, 6, 7), (3, 1, 3), ((1, 1, 1), (2, 0, 1), (2, 1, 3))),
    ],
)
def test_the_gradient_of_a_dilated_kernel_is_that_of_the_pixels_in_between(
    x, size, how, groups, features
):
    agree(convolve._dilated, (2, *x, 4), (*size, 4 // groups, features), How(*how, groups))


def test_planes_take_another_size_along_each_axis():
    how = How((1, 2, 2), (0, 1, 2), (1, 1, 2))
    agree(convolve._planes_summed, (1, 5, 8, 9, 3), (1, 3, 3, 3, 4), how)


@pytest.mark.parametrize("size", [(8, 7), (6, 5, 4)])
@pytest.mark.parametrize(("stride", "dilation", "multiplier"), [(1, 1, 1), (2, 1, 1), (1, 2, 2)])
def test_shifted_products_are_the_depthwise_convolution(size, stride, dilation, multiplier):
    rank = len(size)
    how = How((stride,) * rank, (dilation,) * rank, (dilation,) * rank, 6)
    agree(convolve._depthwise, (2, *size, 6), (*(3,) * rank, 1, 6 * multiplier), how)


@pytest.mark.parametrize("size", [(8, 7), (6, 5, 4)])
@pytest.mark.parametrize(("groups", "width"), [(4, 64), (4, 8), (2, 4), (6, 1)])
def test_groups_joined_are_the_grouped_convolution(monkeypatch, size, groups, width):
    monkeypatch.setattr(convolve, "WIDTH", width)
    rank = len(size)
    how = How((2,) * rank, (1,) * rank, (1,) * rank, groups)
    agree(convolve._grouped, (2, *size, 4 * groups), (*(3,) * rank, 4, 2 * groups), how)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_matmul_is_the_pointwise_convolution(stride):
    agree(convolve._pointwise, (2, 7, 6, 3), (1, 1, 3, 5), How((stride,) * 2, (0, 0), (1, 1)))


def test_two_groups_of_many_channels_joined_are_the_grouped_convolution():
    # of these XLA:CPU sums a product of seven axes wrongly, or ends the process
    agree(convolve._grouped, (2, 8, 8, 24), (3, 3, 12, 24), How((1, 1), (1, 1), (1, 1), 2))
