"""CE-Net: the authors' numbers, of the whole and of each context block; what they see."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.models.ce_net import CENet, DenseAtrous, ResidualMultiKernelPooling
from jaxseg.types import Prediction
from tests.models import peers

LIBRARY = "Guzaiwang/CE-Net"


class Given(nn.Module):
    """A network or a block, which gives what the authors' does: a network's ends in a sigmoid."""

    part: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Prediction:
        part: Any = self.part
        if isinstance(part, CENet):
            return Prediction(nn.sigmoid(part(image, train=train).logits))
        return Prediction(part(image))


@pytest.mark.parametrize(
    ("name", "part", "prefix"),
    [
        ("CE_Net_", CENet(1), ""),
        ("DACblock_32", DenseAtrous(), "dac."),
        ("SPPblock_32", ResidualMultiKernelPooling(), "rmp."),
    ],
)
def test_its_numbers_are_the_authors(shared, name, part, prefix):
    of_block = {"dac.": r"dblock\.", "rmp.": r"spp\."}.get(prefix, "")
    names = [
        (pattern.removeprefix(of_block), f"part.{ours.removeprefix(prefix)}")
        for pattern, ours in CENet(1).names[LIBRARY]
    ]
    peers.check_fingerprint(shared / "facts", f"cenet/{name}", Given(part), names, tolerance=1e-3)


def test_it_costs_what_the_authors_does_but_for_what_that_computes_twice():
    x = jax.ShapeDtypeStruct((1, 448, 448, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: CENet(1).init(jax.random.key(0), x, train=False), x)
    macs = cost.macs(lambda v, x: CENet(1).apply(v, x, train=False), variables, x)
    again = 3 * 14 * 14 * 9 * 512**2  # two shared convolutions, of the same maps
    assert (cost.parameters(variables), macs + again) == (29_003_093, 21_892_079_604)


@pytest.mark.parametrize(("weights", "threes", "ones"), [("shared", 3, 1), ("separate", 7, 3)])
def test_the_dense_atrous_convolution_has_the_parameters_of_the_authors(weights, threes, ones):
    layer, x = DenseAtrous(weights=weights), jnp.ones((1, 14, 14, 512))
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    count = sum(a.size for a in jax.tree.leaves(variables))
    assert count == threes * (9 * 512**2 + 512) + ones * (512**2 + 512)
    if weights == "shared":
        assert count == 7_342_080  # of the authors' code


def test_a_pixel_sees_nineteen_pixels_an_axis():
    layer, x = DenseAtrous(), jnp.ones((1, 25, 25, 1))
    positive = jax.tree.map(lambda a: jnp.abs(a) + 0.1, layer.init(jax.random.key(0), x))
    seen = jax.jit(jax.grad(lambda x: layer.apply(positive, x)[0, 12, 12, 0]))(x)
    rows = np.flatnonzero(np.asarray(seen)[0, ..., 0].any(1))
    assert (rows.min(), rows.max()) == (12 - 9, 12 + 9)  # 1 + 2 (1 + 3 + 5) = 19


def test_a_shared_convolution_runs_once():
    layer, x = DenseAtrous(), jnp.ones((1, 9, 9, 2))
    program = jax.jit(layer.apply).lower(layer.init(jax.random.key(0), x), x).as_text()
    # d1 x, d3 x, d3 d1 x, d5 d3 d1 x; the three 1x1 are matmuls or convolutions
    assert program.count("rhs_dilate = [5, 5]") == 1
    assert program.count("rhs_dilate = [3, 3]") == 2


@pytest.mark.parametrize(("weights", "count"), [("shared", 513), ("separate", 4 * 513)])
def test_the_pooling_has_the_parameters_of_the_authors(weights, count):
    layer, x = ResidualMultiKernelPooling(weights=weights), jnp.ones((1, 14, 14, 512))
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    assert sum(a.size for a in jax.tree.leaves(variables)) == count
    assert jax.eval_shape(layer.apply, variables, x).shape == (1, 14, 14, 516)


def test_the_input_comes_last_and_unchanged():
    layer, x = ResidualMultiKernelPooling(), jax.random.normal(jax.random.key(0), (1, 7, 6, 3))
    y = jax.jit(lambda x: layer.init_with_output(jax.random.key(1), x)[0])(x)
    np.testing.assert_array_equal(np.asarray(y[..., 4:]), np.asarray(x))


def test_a_map_smaller_than_a_window_is_refused():
    layer = ResidualMultiKernelPooling(name="rmp")
    with pytest.raises(UserError, match=r"ResidualMultiKernelPooling rmp: .*\(5, 9\).* at least 6"):
        layer.init(jax.random.key(0), jnp.ones((1, 5, 9, 3)))
