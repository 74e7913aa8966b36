"""RefineNet: numbers of an independent form, its blocks (whose numbers stand in test_blocks)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.models.refinenet import (
    ChainedResidualPooling,
    MultiResolutionFusion,
    RefineNet,
    ResidualConvUnit,
)
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_refinenet.py; the keys are those of the community's port
    model = RefineNet(4, encoder=ResNet(10, width=4), widths=(6, 5, 5, 3))
    peers.check(GOLDEN, "refinenet", model)


@pytest.mark.parametrize(("units", "links"), [((2, 1), 2), ((0, 2), 3)])
def test_units_and_links_are_as_many_as_asked_for(units, links):
    model, x = RefineNet(2, widths=(4, 3), units=units, links=links), jnp.zeros((1, 64, 64, 3))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]
    for block in (1, 2):
        names = [name for name in params if name.startswith(f"refine{block}")]
        assert sum("_unit" in name for name in names) == units[0]
        assert sum("_out" in name for name in names) == units[1]
        assert len(params[f"refine{block}_pooling"]) == links
    assert "refine2_fusion" not in params  # of the coarsest feature alone


def test_a_unit_whose_last_kernel_is_zero_is_the_identity():
    x = jax.random.normal(jax.random.key(0), (1, 4, 5, 3))
    variables = ResidualConvUnit().init(jax.random.key(1), x)
    assert {"bias", "kernel"} == set(variables["params"]["conv1"])
    assert {"kernel"} == set(variables["params"]["conv2"])
    variables["params"]["conv2"]["kernel"] *= 0
    np.testing.assert_array_equal(ResidualConvUnit().apply(variables, x), x)


def test_a_fusion_has_the_size_of_the_first_map():
    maps = tuple(jnp.zeros((2, *size, 3)) for size in ((8, 12), (4, 6), (3, 3)))
    y, _ = MultiResolutionFusion(5).init_with_output(jax.random.key(0), maps)
    assert y.shape == (2, 8, 12, 5)


@pytest.mark.parametrize("order", ["pool_conv", "conv_pool"])
def test_pooling_sees_two_pixels_further_with_each_link(order):
    # kernels that take the middle pixel only: the reach is that of the pooling
    x = jnp.zeros((1, 15, 15, 1)).at[0, 7, 7, 0].set(1.0)
    pooling = ChainedResidualPooling(links=2, order=order)
    variables = pooling.init(jax.random.key(0), x)
    middle = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    variables = {"params": {f"conv{i}": {"kernel": middle} for i in range(2)}}
    y = pooling.apply(variables, x)[0, 7, :, 0]
    np.testing.assert_array_equal(y, [0, 0, 0, 1, 1, 2, 2, 3, 2, 2, 1, 1, 0, 0, 0])


def test_an_even_window_is_refused():
    with pytest.raises(UserError, match="window=4 .* odd one, such as 5"):
        ChainedResidualPooling(window=4).init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
