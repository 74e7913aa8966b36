"""The convolutional LSTM; its numbers stand in test_blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.layers.conv_lstm import ConvLSTM


def parameters(layer: ConvLSTM, channels: int) -> int:
    x = jnp.zeros((1, 2, 8, 8, channels))
    return cost.parameters(jax.eval_shape(lambda: layer.init(jax.random.key(0), x)))


@pytest.mark.parametrize(("kernel_size", "published"), [(5, 1_639_170), (3, 590_594)])
def test_both_directions_have_the_parameters_of_bdc_lstm(kernel_size: int, published: int):
    head = 2 * 64 * 2 + 2
    layer = ConvLSTM(64, kernel_size=kernel_size, direction="both")
    assert parameters(layer, 64) + head == published


def test_both_directions_add_the_parameters_of_the_aortic_network():
    # 2,197,203 with and 2,160,163 without; the 1x1 head to 3 classes grows by 16 inputs
    layer = ConvLSTM(16, direction="both")
    assert parameters(layer, 16) + 16 * 3 == 2_197_203 - 2_160_163


@pytest.fixture(scope="module")
def sequence():
    return jax.random.normal(jax.random.key(0), (2, 4, 5, 3, 2))


def test_forward_knows_the_past_and_backward_the_future_only(sequence):
    layer = ConvLSTM(3, direction="both")
    variables = jax.jit(layer.init)(jax.random.key(1), sequence)

    @jax.jit
    def run(x):
        return layer.apply(variables, x)

    change = jnp.abs(run(sequence) - run(sequence.at[:, 2].add(1.0))).max((0, 2, 3))
    forward, backward = change[:, :3].max(-1) > 0, change[:, 3:].max(-1) > 0
    assert forward.tolist() == [False, False, True, True]
    assert backward.tolist() == [True, True, True, False]


def test_backward_is_forward_of_the_reversed_sequence(sequence):
    forward, backward = ConvLSTM(3), ConvLSTM(3, direction="backward")
    params = backward.init(jax.random.key(1), sequence)["params"]
    renamed = {name.replace("backward", "forward"): value for name, value in params.items()}
    np.testing.assert_allclose(
        backward.apply({"params": params}, sequence),
        forward.apply({"params": renamed}, sequence[:, ::-1])[:, ::-1],
        atol=1e-6,
    )


def test_peepholes_begin_at_zero_and_one_set_fits_every_size(sequence):
    layer, plain = ConvLSTM(3, peepholes=True), ConvLSTM(3)
    variables = layer.init(jax.random.key(1), sequence)
    assert variables["params"]["forward_cell"]["peephole"].shape == (3, 3)
    without = plain.init(jax.random.key(1), sequence)
    np.testing.assert_array_equal(layer.apply(variables, sequence), plain.apply(without, sequence))
    assert layer.apply(variables, jnp.zeros((1, 2, 7, 9, 2))).shape == (1, 2, 7, 9, 3)


def test_an_image_of_one_pixel_goes_through_flaxs_own_lstm():
    import flax.linen as nn

    x = jax.random.normal(jax.random.key(0), (2, 5, 1, 2))
    layer = ConvLSTM(3, kernel_size=1, forget_bias=0.0)
    params = layer.init(jax.random.key(1), x)["params"]
    into, kept = params["forward_input"], params["forward_cell"]["hidden"]["kernel"]
    theirs = {}
    for name, i in (("i", 0), ("g", 1), ("f", 2), ("o", 3)):
        part = slice(3 * i, 3 * i + 3)
        theirs[f"i{name}"] = {"kernel": into["kernel"][0][:, part]}
        theirs[f"h{name}"] = {"kernel": kept[0][:, part], "bias": into["bias"][part]}
    cell = nn.RNN(nn.LSTMCell(3))
    y = cell.apply({"params": {"cell": theirs}}, x[:, :, 0])
    np.testing.assert_allclose(layer.apply({"params": params}, x)[:, :, 0], y, atol=1e-6)


def test_an_even_kernel_is_refused(sequence):
    with pytest.raises(UserError, match="kernel_size=4 would shrink"):
        ConvLSTM(3, kernel_size=4).init(jax.random.key(0), sequence)
