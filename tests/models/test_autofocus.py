"""Autofocus: the authors' numbers and counts, and what chooses the scale at each pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.attention import attention_maps
from jaxseg.errors import UserError
from jaxseg.models.autofocus import Autofocus, AutofocusConv
from tests.models import peers
from tests.models.medical_counts import check_cost

KEY = jax.random.key(0)
FORMS = {
    "Basic": Autofocus(5, adaptive=0),
    "ASPP_c": Autofocus(5, adaptive=0, head="aspp_c"),
    "ASPP_s": Autofocus(5, adaptive=0, head="aspp_s"),
    **{f"AFN{n}": Autofocus(5, adaptive=n) for n in range(1, 7)},
}


@pytest.mark.parametrize("name", ["Basic", "AFN1", "AFN6"])
def test_its_numbers_are_the_authors(shared, name):
    model, names = FORMS[name], Autofocus(5).names["yaq007/Autofocus-Layer"]
    peers.check_fingerprint(shared / "facts", f"autofocus/{name}", model, names, tolerance=1e-4)


@pytest.mark.parametrize("name", FORMS)
def test_it_costs_what_the_authors_does(shared, name):
    check_cost(shared / "facts", f"autofocus/{name}", FORMS[name])


@pytest.mark.parametrize("rank", [2, 3])
def test_where_one_rate_has_all_attention_the_layer_is_the_convolution_of_that_rate(rank):
    layer, x = AutofocusConv(3, (1, 2)), jax.random.normal(KEY, (2, *(9, 8, 7)[:rank], 4))
    variables = jax.jit(lambda: layer.init(KEY, x, train=False))()
    variables["params"]["attention2"]["bias"] = jnp.array([-1e3, 1e3])
    run = jax.jit(lambda v, x: layer.apply(v, x, train=False, mutable=["intermediates"]))
    y, read = run(variables, x)
    (weights,) = read["intermediates"]["attention"]
    inner = [n - 2 for n in x.shape[1:-1]]
    np.testing.assert_array_equal(weights, np.broadcast_to([0.0, 1.0], (2, *inner, 2)))
    padded = jnp.pad(x, [(0, 0), *[(1, 1)] * rank, (0, 0)])
    dilated = jax.lax.conv_general_dilated(
        padded,
        variables["params"]["conv"]["kernel"],
        window_strides=(1,) * rank,
        padding="VALID",
        rhs_dilation=(2,) * rank,
        dimension_numbers=("NHWC", "HWIO", "NHWC") if rank == 2 else ("NDHWC", "DHWIO", "NDHWC"),
    )
    np.testing.assert_allclose(y, dilated / np.sqrt(1 + 1e-5), atol=1e-5)


def test_the_shares_of_the_rates_can_be_read_out_by_name():
    model, x = Autofocus(2, adaptive=3, widths=(2, 4, 4), rates=(1, 2)), jnp.zeros((1, 13, 14, 1))
    made = jax.eval_shape(lambda x: model.init(KEY, x, train=False), x)
    maps = jax.eval_shape(lambda v, x: attention_maps(model, v, x), made, x)
    assert {name: shares.shape for name, shares in maps.items()} == {
        "block1_conv2": (1, 5, 6, 2),
        "block2_conv1": (1, 3, 4, 2),
        "block2_conv2": (1, 1, 2, 2),
    }


def test_attention_moves_by_its_own_parameters_and_not_the_features_before_it():
    layer, x = AutofocusConv(3, (1, 2)), jax.random.normal(KEY, (1, 7, 8, 4))
    variables = jax.jit(lambda: layer.init(KEY, x, train=False))()

    def attention(params, x):
        variables = {"params": params, "batch_stats": stats}
        _, read = layer.apply(variables, x, train=False, mutable=["intermediates"])
        return read["intermediates"]["attention"][0][..., 0].sum()

    params, stats = variables["params"], variables["batch_stats"]
    to_params, to_x = jax.jit(jax.grad(attention, argnums=(0, 1)))(params, x)
    assert abs(to_params["attention1"]["kernel"]).max() > 0 and not to_x.any()


def test_padding_surrounds_the_image_by_what_the_convolutions_take():
    valid, x = Autofocus(2, adaptive=0, widths=(2,)), jax.random.normal(KEY, (1, 9, 10, 1))
    around = jnp.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)])
    variables = valid.init(KEY, x, train=False)
    y = valid.clone(padding="zeros").apply(variables, x, train=False).logits
    assert y.shape == (1, 9, 10, 2)
    np.testing.assert_allclose(y, valid.apply(variables, around, train=False).logits, atol=1e-6)


def test_sizes_and_fields_that_do_not_fit_are_refused():
    assert Autofocus(5).output_size((75, 29)) == (47, 1)
    assert Autofocus(5, padding="zeros").output_size((3, 4)) == (3, 4)
    with pytest.raises(UserError, match="an image of 75 x 28 is too small .* 29 pixels an axis"):
        Autofocus(5).output_size((75, 28))

    def made(**fields):
        x = jnp.zeros((1, 40, 40, 1))
        jax.eval_shape(lambda: Autofocus(2, **fields).init(KEY, x, train=False))

    with pytest.raises(UserError, match=r"adaptive=7: the 3 blocks .* 6 convolutions; .* \[0, 6\]"):
        made(adaptive=7)
    with pytest.raises(UserError, match=r"rates=\(2, 1\): must grow"):
        made(rates=(2, 1))
