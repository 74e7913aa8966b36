"""Inception U-Net: the authors' count, its norm of the image; its block and pooling.

The numbers of the block and of the pooling stand in tests/layers/test_blocks.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.inception_unet import (
    HybridPool,
    InceptionBlock,
    InceptionUNet,
    SwitchNorm,
    spectral_pool,
)
from tests.models.medical_counts import check_cost


def test_it_has_the_parameters_of_the_authors(shared):
    check_cost(shared / "facts", "inception_unet/iunet_16_with_hybrid_pool_convs", InceptionUNet(1))


def test_dropouts_of_another_number_are_refused():
    with pytest.raises(UserError, match=r"dropouts=\(0.1,\) are 1; .* need 2"):
        model = InceptionUNet(2, widths=(4, 4, 4), dropouts=(0.1,))
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), jnp.ones((1, 8, 1)))


X = np.random.RandomState(0).standard_normal((2, 4, 5, 3)) * np.arange(1, 4)
X = jnp.asarray(2 + X, jnp.float32)


@pytest.mark.parametrize(
    ("kind", "axes"),
    [(0, (1, 2)), (1, (1, 2, 3)), (2, (0, 1, 2))],
    ids=["channel", "image", "batch"],
)
def test_a_share_of_one_makes_the_switchable_norm_the_norm_of_that_kind(kind, axes):
    variables = SwitchNorm().init(jax.random.key(1), X, train=True)
    share = jnp.full(3, -1e3).at[kind].set(1e3)
    variables["params"] |= {"mean_share": share, "var_share": share}
    y, new = SwitchNorm().apply(variables, X, train=True, mutable=["batch_stats"])
    x = np.asarray(X, "f8")
    wanted = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-3)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    kept = new["batch_stats"]
    np.testing.assert_allclose(kept["mean"], 0.1 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(kept["var"], 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-5)


def test_in_evaluation_the_share_of_the_batch_is_that_of_the_running_moments():
    variables = SwitchNorm().init(jax.random.key(1), X, train=True)
    share = jnp.array([-1e3, -1e3, 1e3])
    variables["params"] |= {"mean_share": share, "var_share": share}
    y = SwitchNorm().apply(variables, X, train=False)
    np.testing.assert_allclose(y, X / jnp.sqrt(1 + 1e-3), rtol=1e-5)


@pytest.mark.parametrize("size", [(4, 3), (7, 6), (1, 2)])
def test_spectral_pooling_keeps_the_mean_and_a_constant(size: tuple[int, int]):
    x = jax.random.normal(jax.random.key(0), (2, 8, 6, 3))
    y = spectral_pool(x, size)
    assert y.shape == (2, *size, 3)
    np.testing.assert_allclose(y.mean((1, 2)), x.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(spectral_pool(jnp.full((1, 8, 6, 1), 3.0), size), 3.0, rtol=1e-5)


def test_spectral_pooling_samples_a_slow_wave_and_loses_a_fast_one():
    old, new = jnp.arange(16) / 16, jnp.arange(8) / 8
    slow, fast = (jnp.cos(2 * jnp.pi * k * old)[None, :, None] for k in (3, 6))
    wave = jnp.cos(2 * jnp.pi * 3 * new)[None, :, None]
    np.testing.assert_allclose(spectral_pool(slow, (8,)), wave, atol=1e-5)
    np.testing.assert_allclose(spectral_pool(fast, (8,)), 0, atol=1e-5)


def test_spectral_pooling_to_the_same_size_is_the_identity():
    x = jnp.ones((1, 4, 6, 2))
    assert spectral_pool(x, (4, 6)) is x


@pytest.mark.parametrize("stride", [2, 16])
def test_hybrid_pooling_divides_the_size_and_keeps_the_channels(stride: int):
    x = jnp.zeros((1, 32, 16, 3))
    y, variables = HybridPool(stride).init_with_output(jax.random.key(0), x)
    assert y.shape == (1, 32 // stride, 16 // stride, 3)
    assert variables["params"]["conv"]["kernel"].shape == (1, 1, 6, 3)


@pytest.mark.parametrize("stride", [2, 6])
def test_the_larger_half_of_hybrid_pooling_is_the_maximum_of_each_block(stride: int):
    x = jax.random.normal(jax.random.key(0), (1, 12, 18, 1))
    kernel = jnp.array([1.0, 0.0]).reshape(1, 1, 2, 1)
    params = {"conv": {"kernel": kernel, "bias": jnp.zeros(1)}}
    y = jax.jit(lambda x: HybridPool(stride).apply({"params": params}, x))(x)
    blocks = x.reshape(1, 12 // stride, stride, 18 // stride, stride, 1)
    np.testing.assert_array_equal(y, blocks.max((2, 4)))


def test_a_size_that_hybrid_pooling_cannot_divide_is_refused_with_one_that_fits():
    with pytest.raises(UserError, match=r"HybridPool None: \(5, 6\) .* pad to \(8, 8\)"):
        HybridPool(4).init(jax.random.key(0), jnp.zeros((1, 5, 6, 2)))


@pytest.mark.parametrize(("n", "m"), [(3008, 1504), (2560, 1281), (5008, 2504)])
def test_spectral_pooling_of_a_long_axis_is_that_of_the_spectrum(n, m):
    x = np.random.RandomState(0).standard_normal(n)
    spectrum = np.fft.rfft(x)[: m // 2 + 1]
    if m % 2 == 0:
        spectrum[-1] = spectrum[-1].real  # half of both of its mirror images
    wanted = np.fft.irfft(spectrum, m) * m / n
    found = spectral_pool(jnp.asarray(x, jnp.float32)[None, :, None], (m,))[0, :, 0]
    np.testing.assert_allclose(found, wanted, atol=3e-4)


def test_spectral_pooling_does_not_enlarge():
    with pytest.raises(UserError, match="size 9 is larger than the axis of 8"):
        spectral_pool(jnp.zeros((1, 8, 1)), (9,))


def test_the_block_has_the_parameters_of_a_level_of_the_network():
    # k = 32 after a level of 16: 1x1, 3x3, 5x5 and the pooling's 1x1, then the joining 1x1
    by_hand = (16 * 32 * (1 + 9 + 25) + 3 * 32) + (32 * 16 + 16) + (3 * 32 + 16) * 32 + 32
    made = jax.eval_shape(
        lambda: InceptionBlock(32).init(jax.random.key(0), jnp.zeros((1, 8, 8, 16)), train=False)
    )
    assert sum(a.size for a in jax.tree.leaves(made["params"])) == by_hand
