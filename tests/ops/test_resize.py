"""Resizing; its numbers stand in test_golden and test_sampling_golden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError
from jaxseg.ops import enlarge, resize
from jaxseg.ops.resample import gather, interpolate


def image(*shape):
    return jax.random.normal(jax.random.key(0), shape)


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_constant_stays_constant(align_corners):
    y = resize(jnp.full((1, 5, 7, 2), 3.0), (11, 4), "linear", align_corners)
    np.testing.assert_allclose(y, 3, rtol=1e-6)


def test_aligned_corners_keep_the_corner_pixels():
    x = image(1, 4, 5, 2)
    y = resize(x, (9, 13), "linear", align_corners=True)
    np.testing.assert_allclose(y[:, ::8, ::12], x[:, ::3, ::4], atol=1e-6)


def test_a_scale_is_not_the_quotient_of_the_sizes_unless_it_is_whole():
    x = image(1, 17, 13, 2)
    y = resize(x, None, "linear", scale=0.75)
    assert y.shape == (1, 12, 9, 2)
    assert abs(y - resize(x, (12, 9), "linear")).max() > 1e-2
    double = resize(x, None, "linear", scale=2)
    np.testing.assert_allclose(double, enlarge(x, 2, "linear"), atol=1e-6)


def test_taking_pixels_equals_the_matmul_for_any_weights():
    rng = np.random.default_rng(0)
    index, weight = rng.integers(0, 6, (9, 3)), rng.random((9, 3)).astype("f4")
    weight[2] = 0  # a row of nothing
    index[:, 1] = index[:, 0]  # the same pixel twice
    dense = np.zeros((9, 6), "f4")
    for t in range(3):
        np.add.at(dense, (np.arange(9), index[:, t]), weight[:, t])
    x, w = image(2, 4, 6, 3), image(2, 4, 9, 3)
    for function in (lambda x: gather(x, 2, index, weight), lambda x: interpolate(x, dense, 2)):
        y, back = jax.vjp(function, x)
        np.testing.assert_allclose(y, jnp.einsum("mj,bhjc->bhmc", dense, x), atol=1e-5)
        np.testing.assert_allclose(back(w)[0], jnp.einsum("mj,bhmc->bhjc", dense, w), atol=1e-5)


@pytest.mark.parametrize("method", ["nearest", "nearest-exact", "linear"])
def test_half_precision_stays_half_precision_and_close(method):
    x = image(1, 5, 6, 2)
    y = resize(x.astype(jnp.bfloat16), (9, 4), method)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), resize(x, (9, 4), method), atol=3e-2)
    assert enlarge(x.astype(jnp.bfloat16), 2, "linear").dtype == jnp.bfloat16


def test_a_batch_mapped_one_by_one_gives_the_same_gradient():
    x = image(3, 4, 5, 2)

    def loss(x):
        return jnp.sin(resize(enlarge(x, 2, "linear"), (5, 7), "nearest")).sum()

    one_by_one = jax.vmap(lambda x: jax.grad(lambda x: loss(x[None]))(x))(x)
    np.testing.assert_allclose(one_by_one, jax.grad(loss)(x), atol=1e-6)


@pytest.mark.parametrize(("rows", "devices"), [(16, 2), (24, 4), (32, 8)])
def test_rows_on_several_devices_give_the_gradient_of_one(rows: int, devices: int):
    mesh = jax.make_mesh((devices,), ("rows",), axis_types=(AxisType.Auto,))
    sharded = NamedSharding(mesh, P(None, "rows"))

    def gradient(x):
        def loss(x):
            y = resize(enlarge(x, 2, "linear"), (rows, 9), "linear", align_corners=True)
            return jnp.sin(y).sum()

        return jax.grad(loss)(x)

    x = image(1, rows, 6, 2)
    many = jax.jit(gradient, in_shardings=sharded)(x)
    np.testing.assert_allclose(many, jax.jit(gradient)(x), atol=1e-5)


@pytest.mark.parametrize("method", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_free_sizes_can_be_exported(method, align_corners):
    if align_corners and method != "linear":
        pytest.skip("refused")
    h, w = export.symbolic_shape("h, w")

    def double(x):
        size = tuple(2 * n + 1 for n in x.shape[1:-1])
        return resize(enlarge(x, 2, "linear"), size, method, align_corners)

    exported = export.export(jax.jit(double), platforms=["cpu", "cuda"])(
        jax.ShapeDtypeStruct((1, h, w, 2), jnp.float32)
    )
    x = image(1, 5, 4, 2)
    np.testing.assert_allclose(exported.call(x), double(x), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": (0, 4)}, "at least 1"),
        ({"size": (4,)}, "2 numbers"),
        ({"size": None}, "neither size nor scale"),
        ({"size": None, "scale": 0.1}, r"size=\(0, 0\)"),
        ({"size": None, "scale": -1.0}, "above 0"),
        ({"size": None, "scale": (1.0,)}, "2 axes"),
        ({"size": (4, 4), "method": "nearest", "align_corners": True}, "linear fits"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(fields, said):
    with pytest.raises(UserError, match=f"^resize: .*{said}") as refused:
        resize(jnp.zeros((1, 5, 6, 2)), **({"method": "linear"} | fields))
    assert "\n" not in str(refused.value)
