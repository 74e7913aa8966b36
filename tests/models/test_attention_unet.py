"""Attention U-Net: numbers and counts of the authors', Lee's and MONAI's; its gates, read out."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxseg.attention import attention_maps
from jaxseg.errors import UserError
from jaxseg.models.attention_unet import AttentionUNet
from tests.models import peers
from tests.models.medical_counts import check_cost

WIDE = (64, 128, 256, 512, 1024)
NARROW = (8, 16, 32, 64, 128)
AUTHORS = functools.partial(AttentionUNet, 4)
LEE = AttentionUNet(1, widths=WIDE, form="community")
MONAI = AttentionUNet(2, form="monai")
LIBRARIES = {
    "oktay": "ozan-oktay/Attention-Gated-Networks",
    "lee": "LeeJunHyun/Image_Segmentation",
    "monai": "monai",
}


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("oktay/unet_ct_multi_att_dsv_fs8", AUTHORS(widths=NARROW)),
        ("oktay/unet_ct_single_att_dsv_fs8", AUTHORS(widths=NARROW, form="single")),
        ("lee/AttU_Net", LEE),
        ("monai/AttentionUnet2d", MONAI),
        ("monai/AttentionUnet3d", MONAI),
    ],
)
def test_its_numbers_are_those_of_each_code(shared, name, model):
    names = model.names[LIBRARIES[name.split("/")[0]]]
    peers.check_fingerprint(shared / "facts", name, model, names, tolerance=1e-4)


def test_it_agrees_with_monai_at_fewer_levels():
    model = AttentionUNet(3, widths=(16, 32, 64, 128), form="monai")
    peers.check(peers.RECORDS, "monai_attentionunet_2d", model)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("oktay/unet_ct_dsv", AUTHORS(form="none")),
        ("oktay/unet_ct_single_att_dsv", AUTHORS(form="single")),
        ("oktay/unet_ct_multi_att_dsv", AUTHORS()),
        ("oktay/unet_ct_multi_att_dsv_fs8", AUTHORS(widths=NARROW)),
        ("lee/AttU_Net", LEE),
        ("lee/AttU_Net_1ch", LEE),
        ("monai/AttentionUnet2d_16-256", MONAI),
        ("monai/AttentionUnet2d_64-1024", MONAI.clone(widths=WIDE)),
        ("monai/AttentionUnet3d_16-256", MONAI),
    ],
)
def test_it_costs_what_each_code_does(shared, name, model):
    check_cost(shared / "facts", name, model)


@pytest.mark.parametrize(
    ("form", "gates"),
    [
        ("multi", {"level1_gate1": 8, "level1_gate2": 8}),
        ("community", {"level0_gate": 16, "level1_gate": 8}),
        ("monai", {"level0_gate": 16, "level1_gate": 8}),
    ],
)
def test_the_maps_of_its_gates_are_read_out(form, gates):
    model, x = AttentionUNet(2, widths=(2, 3, 4), form=form), jnp.ones((1, 15, 16, 1))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    maps = jax.eval_shape(lambda v: attention_maps(model, v, x), variables)
    found = {name: a.shape for name, a in maps.items()}
    assert found == {name: (1, n, n, 1) for name, n in gates.items()}


def test_without_gates_there_is_no_map():
    model, x = AttentionUNet(2, widths=(2, 3), form="none"), jnp.ones((1, 4, 4, 1))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    with pytest.raises(UserError, match="AttentionUNet has no attention maps"):
        jax.eval_shape(lambda v: attention_maps(model, v, x), variables)
