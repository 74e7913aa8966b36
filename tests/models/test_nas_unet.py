"""NAS-Unet: the authors' counts of what they found, numbers of operations, what is no genotype."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import record
from jaxseg.errors import UserError
from jaxseg.models.nas_unet import DOWN, GENOTYPES, NORMAL, UP, Genotype, NASUNet, Operation
from tests.models.medical_counts import check_cost


@pytest.mark.parametrize(
    ("key", "width", "depth", "classes", "genotype"),
    [
        ("NASUNET_c16_d4_1ch2cls", 16, 4, 2, "v2"),
        ("NASUNET_c16_d5_1ch2cls", 16, 5, 2, "v2"),
        ("NASUNET_c32_d4_1ch2cls", 32, 4, 2, "v2"),
        ("NASUNET_c32_d5_1ch2cls", 32, 5, 2, "v2"),
        ("NASUNET_c48_d5_1ch2cls", 48, 5, 2, "v2"),
        ("NASUNET_c48_d5_3ch21cls", 48, 5, 21, "v2"),
        ("NASUNET_c48_d6_1ch2cls", 48, 6, 2, "v2"),
        ("NASUNET_c64_d6_1ch2cls", 64, 6, 2, "v2"),
        ("NAS_UNET_V1_En_c16_d5", 16, 5, 2, "v1_en"),
        ("NAS_UNET_V2_En_c16_d5", 16, 5, 2, "v2_en"),
        ("NAS_UNET_NEW_V2_c16_d5", 16, 5, 2, "new_v2"),
        ("NAS_UNET_V3_c16_d5", 16, 5, 2, "v3"),
    ],
)
def test_it_costs_what_the_authors_does(shared, key, width, depth, classes, genotype):
    model = NASUNet(classes, width=width, depth=depth, genotype=GENOTYPES[genotype])
    # theirs has a norm after the head, which never runs
    check_cost(shared / "facts", f"nasunet/{key}", model, never_run=2 * classes)


@pytest.mark.parametrize("name", GENOTYPES)
def test_a_genotype_survives_json_in_its_network_and_can_be_built(name):
    model = NASUNet(2, width=4, depth=1, genotype=GENOTYPES[name])
    assert record.from_json(json.loads(json.dumps(record.to_json(model)))) == model
    x = jnp.zeros((1, 8, 8, 1))
    out, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), x, train=False))
    assert out.logits.shape == (1, 8, 8, 2)


@pytest.mark.parametrize("name", (*NORMAL, *DOWN, *UP))
def test_an_operation_keeps_halves_or_doubles_the_size(name):
    x, layer = jnp.zeros((1, 4, 6, 8)), Operation(name, 8)
    y, _ = jax.eval_shape(lambda: layer.init_with_output(jax.random.key(0), x, train=False))
    factor = {True: 2, False: 1}[name in UP] / (2 if name in DOWN else 1)
    assert y.shape == (1, 4 * factor, 6 * factor, 8)


def test_a_dilated_transposed_convolution_has_every_other_pixel_alone():
    x, layer = jax.random.normal(jax.random.key(0), (1, 3, 4, 2)), Operation("up_dil_conv", 2)
    variables = jax.jit(lambda: layer.init(jax.random.key(1), x, train=False))()
    variables["params"]["norm"]["bias"] += 9  # so that ReLU takes nothing away
    kernel = variables["params"]["conv"]["kernel"]
    spread = jnp.zeros((5, 5, 2, 2)).at[::2, ::2].set(kernel)  # lax turns no kernel
    wanted = jax.lax.conv_transpose(x, spread, (2, 2), [(2, 2), (2, 2)])  # 2 n - 1 an axis
    wanted = (wanted - wanted.mean()) / jnp.sqrt(wanted.var() + 1e-5) + 9
    ours = jax.jit(lambda v: layer.apply(v, x, train=False))(variables)
    np.testing.assert_array_equal(ours[:, 0], ours[:, 1])  # the first twice, as torch's nearest
    np.testing.assert_allclose(ours[:, 1:, 1:], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("down", "up", "message"),
    [
        ("down_con:0 down_conv:1", "", "no operation is called 'down_con'; the nearest is 'down_"),
        ("down_conv:0", "", "Genotype.down has 1 edges; a node is the sum of two"),
        ("down_conv:0 conv:2", "", "'conv' is of input 2; 0 to 1 are before it"),
        ("down_conv:0 conv:1", "", "'conv' of input 1 gives another size .* fit avg_pool, max"),
        ("", "up_conv:0 up_conv:1", "Genotype.up: 'up_conv' of input 0 .* fit identity"),
    ],
)
def test_what_is_no_genotype_is_refused_in_one_line(down, up, message):
    good = GENOTYPES["v1_en"]
    cells = {
        cell: tuple((edge.split(":")[0], int(edge.split(":")[1])) for edge in text.split())
        or getattr(good, cell)
        for cell, text in (("down", down), ("up", up))
    }
    with pytest.raises(UserError, match=message) as caught:
        Genotype(**cells)
    assert "\n" not in str(caught.value)
