"""Hybrid dilation (its lists of rates, its rule, the holes themselves) and dense upsampling."""

import itertools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.models.hdc_duc import (
    FOURTH,
    HDCDUC,
    DenseUpsampling,
    HybridDilation,
    check_rates,
    cycle_rates,
    largest_gap,
)
from tests.models import peers
from tests.models.dilations import dilations

GOLDEN = Path(__file__).parent.parent / "golden"


def seen(rates, kernel_size: int = 3) -> set[int]:
    """Offsets, along one axis, of the pixels that convolutions of these rates in a row reach."""
    reached = {0}
    for rate in rates:
        reached = {a + rate * tap for a in reached for tap in range(kernel_size)}
    return reached


def has_holes(rates, kernel_size: int = 3) -> bool:
    reached = seen(rates, kernel_size)
    return len(reached) <= max(reached)


def refused(rates, kernel_size: int = 3) -> bool:
    try:
        check_rates(rates, kernel_size)
    except UserError:
        return True
    return False


def test_the_examples_of_the_paper():
    # section 3.2, kernels of 3: [1, 2, 5] fits with M_2 = 2, [1, 2, 9] does not with M_2 = 5
    assert largest_gap((1, 2, 5)) == 2
    assert largest_gap((1, 2, 9)) == 5
    assert check_rates((1, 2, 5)) == (1, 2, 5)
    with pytest.raises(UserError, match=re.escape("rates=(1, 2, 9)")):
        check_rates((1, 2, 9))


def test_a_common_factor_is_refused_though_the_gap_is_small():
    assert largest_gap((2, 2, 2)) == 2  # section 3.2: [2, 4, 8] and the like still grid
    for rates in ((2, 2, 2), (2, 4, 8)):
        assert refused(rates)


def test_the_released_network_has_no_hole_though_its_last_stage_alone_has():
    fourth = (2, *cycle_rates((1, 2, 5, 9), 23)[1:])
    assert fourth[:8] == (2, 2, 5, 9, 1, 2, 5, 9) and fourth[-3:] == (1, 2, 5)
    assert len(fourth) == 23
    assert not refused((*fourth, 5, 9, 17))
    assert refused((5, 9, 17))


@pytest.mark.parametrize("kernel_size", [2, 3, 5])
def test_a_list_is_refused_exactly_where_it_leaves_holes(kernel_size: int):
    for length in (1, 2, 3):
        for rates in itertools.product(range(1, 10), repeat=length):
            assert refused(rates, kernel_size) == has_holes(rates, kernel_size), rates


def test_for_rates_that_ascend_from_one_this_is_the_rule_of_the_paper():
    for length in (2, 3, 4):
        for rates in itertools.combinations_with_replacement(range(1, 11), length):
            if rates[0] == 1:
                assert refused(rates) == (largest_gap(rates) > 3 or math.gcd(*rates) > 1), rates


def test_what_the_message_proposes_fits():
    with pytest.raises(UserError) as raised:
        check_rates((2, 3, 14), layer="HybridDilation body")
    line = str(raised.value)
    assert "\n" not in line and line.startswith("HybridDilation body: rates=(2, 3, 14)")
    proposed = re.search(r"; \((.*)\) leave none", line)
    assert proposed and check_rates(tuple(map(int, proposed[1].split(", ")))) == (1, 3, 9)


@pytest.mark.parametrize("rates", [(), (0, 1), (1, -2)])
def test_rates_below_one_are_refused(rates):
    with pytest.raises(UserError, match="each at least 1"):
        check_rates(rates)


def test_the_layer_refuses_holes_when_it_is_traced():
    layer = HybridDilation(2, rates=(1, 2, 9), name="body")
    with pytest.raises(UserError, match="HybridDilation body"):
        jax.eval_shape(lambda: layer.init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)), train=False))


def test_the_gradient_of_one_pixel_reaches_every_pixel_of_the_field():
    layer, x = HybridDilation(1, rates=(1, 2, 5), norm="none"), jnp.ones((1, 21, 21, 1))
    params = layer.init(jax.random.key(0), x, train=False)
    positive = jax.tree.map(lambda a: jnp.abs(a) + 0.1, params)  # nothing cancels

    def centre(x):
        return layer.apply(positive, x, train=False)[0, 10, 10, 0]

    touched = np.asarray(jax.jit(jax.grad(centre))(x))[0, ..., 0] > 0
    inside = np.zeros((21, 21), bool)
    inside[2:19, 2:19] = True  # 1 + 2 (1 + 2 + 5) = 17 pixels
    assert (touched == inside).all()


# --- dense upsampling, and the network ------------------------------------------------------------


def test_a_pixel_predicts_the_classes_of_its_block():
    layer, x = DenseUpsampling(19, kernel_size=1), jnp.zeros((1, 3, 4, 2))
    variables = layer.init(jax.random.key(0), x)
    run = jax.jit(layer.apply)
    assert sum(a.size for a in jax.tree.leaves(variables)) == (2 + 1) * 19 * 64
    y = np.asarray(run(variables, x.at[0, 1, 2].set(1.0)) - run(variables, x))
    assert y.shape == (1, 24, 32, 19)
    inside = np.zeros((24, 32), bool)
    inside[8:16, 16:24] = True
    assert ((y[0] != 0).any(-1) == inside).all()


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_hdc_duc.py; the keys of the encoder are those of semseg
    encoder = ResNet(
        14, width=4, stem="deep", strided="1x1", output_stride=8, dilations=((1,), (3,))
    )
    peers.check(GOLDEN, "hdc_duc", HDCDUC(3, encoder=encoder))


def test_the_released_network_costs_what_was_counted():
    # counts-medical.json, hdc/ResNet101_HDC_DUC_19cls_cap64
    found = cost.counted(HDCDUC(19), jax.ShapeDtypeStruct((1, 512, 512, 3), jnp.float32))
    assert (found["parameters"], found["macs"]) == (132_282_048, 551_144_128_512)


def test_dilations_are_those_of_the_released_network():
    model = HDCDUC(2)
    assert dilations(model, r"layer3_block\d+") == list(FOURTH)
    assert dilations(model, r"layer4_block\d") == [5, 9, 17]


@pytest.mark.parametrize("upsampling", ["conv", "conv_norm"])
def test_other_upsamplings_have_the_size_of_the_image(upsampling):
    encoder = ResNet(10, width=4, output_stride=8)
    model, x = HDCDUC(3, encoder=encoder, upsampling=upsampling), jnp.zeros((1, 30, 41, 3))
    out, variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), x, train=False)
    )
    assert out.logits.shape == (1, 30, 41, 3)
    assert ("batch_stats" in variables["params"].get("duc", {})) is False
    assert ("norm" in variables["params"]["duc"]) == (upsampling == "conv_norm")


@pytest.mark.parametrize(
    ("dilated", "message"),
    [
        (((2,), (9,)), "HDCDUC: the encoder's: rates=(2, 9) leave pixels"),
        (((1, 1), (2,)), "must have a dilation for each block of the last stages"),
    ],
)
def test_dilations_with_holes_or_of_other_blocks_are_refused(dilated, message):
    model = HDCDUC(2, encoder=ResNet(10, width=4, output_stride=8, dilations=dilated))
    with pytest.raises(UserError, match=re.escape(message)):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 9, 9, 3)), train=False))
