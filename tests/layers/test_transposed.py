"""Transposed convolution; its numbers stand in test_golden and test_sampling_golden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.layers import TransposedConv
from jaxseg.layers.transposed import _blocks, _How, _whole

FORMS = [
    {},
    {"kernel_size": 4, "padding": 1},
    {"kernel_size": 3, "padding": 1, "output_padding": 1},
    {"kernel_size": 4, "padding": 1, "groups": 2},
]


def image(*shape):
    return jax.random.normal(jax.random.key(0), shape)


@pytest.mark.parametrize("fields", FORMS)
def test_half_precision_stays_half_precision_and_close(fields):
    layer, x = TransposedConv(4, **fields), image(1, 3, 4, 4)
    variables = layer.init(jax.random.key(1), x)
    exact, y = layer.apply(variables, x), layer.apply(variables, x.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=5e-2 * abs(exact).max())


@pytest.mark.parametrize(
    "how",
    [
        _How((2, 2), (4, 4), (1, 1), (0, 0), 1),
        _How((2, 2), (3, 3), (1, 1), (1, 1), 1),
        _How((2, 3), (5, 3), (0, 1), (0, 0), 2),
    ],
)
def test_both_forms_cost_what_pytorch_counts(how):
    x = jax.ShapeDtypeStruct((1, 5, 6, 4), jnp.float32)
    kernel = jax.ShapeDtypeStruct((*how.kernel, 4 // how.groups, 8), jnp.float32)
    by_hand = 5 * 6 * how.kernel[0] * how.kernel[1] * 4 * 8 // how.groups
    assert cost.macs(lambda x, k: _blocks(how, x, k), x, kernel) == by_hand
    assert cost.macs(lambda x, k: _whole(how, x, k), x, kernel) == by_hand


def test_a_new_kernel_keeps_the_variance_of_relu_features():
    x = jax.nn.relu(image(1, 16, 16, 64)) * np.sqrt(2)
    for size in (2, 4):
        layer = TransposedConv(64, kernel_size=size, padding=(size - 2) // 2)
        y = layer.apply(layer.init(jax.random.key(1), x), x)
        assert 0.8 < float(y[:, 2:-2, 2:-2].var()) / 2 < 1.25


@pytest.mark.parametrize(("rows", "devices"), [(16, 2), (24, 4), (32, 8)])
@pytest.mark.parametrize("fields", FORMS[:3])
def test_rows_on_several_devices_give_the_gradient_of_one(fields, rows: int, devices: int):
    mesh = jax.make_mesh((devices,), ("rows",), axis_types=(AxisType.Auto,))
    sharded, whole = NamedSharding(mesh, P(None, "rows")), NamedSharding(mesh, P())
    layer, x = TransposedConv(3, **fields), image(1, rows, 6, 2)
    variables = layer.init(jax.random.key(1), x)

    def gradient(variables, x):
        return jax.grad(lambda v, x: jnp.sin(layer.apply(v, x)).sum(), (0, 1))(variables, x)

    many = jax.jit(gradient, in_shardings=(whole, sharded))(variables, x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        many,
        jax.jit(gradient)(variables, x),
    )


@pytest.mark.parametrize("fields", FORMS)
def test_free_sizes_can_be_exported(fields):
    h, w = export.symbolic_shape("h, w")
    layer, x = TransposedConv(4, **fields), image(1, 3, 5, 4)
    variables = layer.init(jax.random.key(1), x)
    exported = export.export(
        jax.jit(lambda x: layer.apply(variables, x)), platforms=["cpu", "cuda"]
    )(jax.ShapeDtypeStruct((1, h, w, 4), jnp.float32))
    np.testing.assert_allclose(exported.call(x), layer.apply(variables, x), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"output_padding": 2}, r"output_padding=\(2, 2\) is not below .* \(1, 1\) fits"),
        ({"padding": 6}, r"leaves \(-4, -2\) .* it would be \(8, 10\)"),
        ({"groups": 3}, "groups=3 does not divide both 4 channels and 6 features; 1 does"),
        ({"stride": (2, 2, 2)}, "3 numbers; the image has 2 axes"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(fields, said):
    layer = TransposedConv(6, **fields, name="up")
    with pytest.raises(UserError, match=f"^TransposedConv up: .*{said}") as refused:
        jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 4, 5, 4)))
    assert "\n" not in str(refused.value)


def test_a_bilinear_kernel_interpolates_each_channel_by_itself():
    layer, x = (
        TransposedConv(2, kernel_size=4, padding=1, kernel_init="bilinear"),
        image(1, 4, 5, 2),
    )
    y, _ = jax.jit(lambda x: layer.init_with_output(jax.random.key(1), x))(x)
    linear = jax.image.resize(x, (1, 8, 10, 2), "linear")
    np.testing.assert_allclose(y[:, 1:-1, 1:-1], linear[:, 1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize(("size", "kernel"), [((4, 5), (3, 3)), ((1, 1), (7, 7)), ((1, 3), (4, 3))])
def test_without_a_stride_it_is_what_the_general_form_gives(size, kernel):
    x = image(2, *size, 4)
    layer = TransposedConv(6, 1, kernel, padding=1, use_bias=False)
    variables = layer.init(jax.random.key(1), x)
    how = _How((1, 1), kernel, (1, 1), (0, 0), 1)
    general = _blocks(how, x, variables["params"]["kernel"])
    np.testing.assert_allclose(layer.apply(variables, x), general, atol=1e-5)


def test_a_map_of_one_pixel_costs_a_kernel():
    x, layer = jax.ShapeDtypeStruct((1, 1, 1, 4), jnp.float32), TransposedConv(6, 1, 7)
    macs = cost.macs(lambda x: layer.init_with_output(jax.random.key(0), x)[0], x)
    assert macs == 7 * 7 * 4 * 6
