import json
from pathlib import Path

import pytest

from jaxseg.convert import from_torch
from jaxseg.convert.monai import adn, vnet
from jaxseg.errors import UserError
from jaxseg.layers import ADN
from tests.convert import recorded

GOLDEN = Path(__file__).parent.parent / "golden"
RECORDS = json.loads((GOLDEN / "converted.json").read_text())  # golden/make_converted.py
RECORDS += json.loads((GOLDEN / "segresnet.json").read_text())[:-1]  # golden/make_segresnet.py
MONAI = [one for one in RECORDS if one["library"].startswith("monai")]


@pytest.mark.parametrize("known", MONAI, ids=lambda known: known["arch"])
def test_its_networks_compute_the_same_at_uneven_strides_odd_sizes_and_other_options(known):
    recorded.check(known)


def test_layers_are_called_by_name_in_any_case_and_take_the_peers_arguments():
    assert adn("PRELU", "INSTANCE", 0.0) == ADN()
    assert adn(["prelu", {"num_parameters": 4}], None, None).activation == "prelu"
    batch = adn("celu", ("BATCH", {"eps": 1e-3, "momentum": 0.01}), ("dropout", {"p": 0.2}), "na")
    wanted = ADN("batch", "elu", affine=True, epsilon=1e-3, momentum=0.99, order="NAD")
    assert batch == wanted  # the ordering has no D: nothing is dropped


UNET = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 6], "strides": [2]}


@pytest.mark.parametrize(
    ("arch", "changed", "message"),
    [
        ("UNet", {"norm": "layer"}, "norm: nothing is here that is called 'layer'"),
        ("UNet", {"norm": "group"}, "argument 'num_groups' is missing"),
        ("UNet", {"norm": ["batch", {"track_running_stats": False}]}, "must be True, which jaxseg"),
        ("UNet", {"act": ["elu", {"alpha": 2.0}]}, r"act elu: alpha=2.0: must be 1"),
        ("UNet", {"act": ["leakyrelu", {"slope": 0.1}]}, "the nearest is 'negative_slope'"),
        ("UNet", {"act": 3}, "UNet: act=3: expected"),
        ("UNet", {"act": ["relu", 3]}, "must be a name, or a name and its arguments"),
        ("UNet", {"norm": ["batch", {"momentum": None}]}, "its arguments do not fit"),
        ("UNet", {"adn_ordering": "NDX"}, "of the letters N, D and A"),
        ("UNet", {"strides": []}, "one for each of channels"),
        ("UNet", {"kernel_size": 2}, "kernel_size=2: must be odd"),
        ("UNet", {"kernel_size": [3, 3, 3]}, "3 numbers; the image has 2 axes"),
        ("UNet", {"spatial_dims": 4}, "spatial_dims=4: must be 1, 2 or 3"),
        ("UNet", {"channels": 4}, "UNet: channels=4: expected"),
        ("UNet", {"channels": [4, "6"]}, "UNet: "),
        ("UNet", {"out_channels": "2"}, "UNet: out_channels='2': expected int"),
        ("UNet", {"out_channels": 0}, "num_classes=0: must be at least 1"),
        ("UNet", {"in_channels": 0}, "in_channels=0: must be at least 1"),
        ("UNet", {"strides": [0]}, "at least 1"),
        ("AttentionUnet", {"strides": [0]}, "at least 1"),
        ("AttentionUnet", {"kernel_size": 4}, "kernel_size=4: must be odd"),
        ("AttentionUnet", {"act": "relu"}, "AttentionUnet takes no argument 'act'"),
    ],
)
def test_what_nothing_of_ours_computes_is_refused_by_name(arch, changed, message):
    with pytest.raises(UserError, match=message):
        from_torch("monai.networks.nets", arch, UNET | changed, {})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"upsample": "deconvgroup"}, "'deconv' or 'nontrainable' or 'pixelshuffle'"),
        ({"features": [4, 6, 8]}, "six numbers: five levels, and the last map's"),
        ({"features": [4, 6, 1, 1, 1, 1]}, "of two channels or more from the third one on"),
    ],
)
def test_basic_unets_refuse_what_they_cannot_be(changed, message):
    for arch in ("BasicUNet", "BasicUNetPlusPlus"):
        with pytest.raises(UserError, match=message):
            from_torch("monai.networks.nets", arch, changed, {})


FIRST = {"n_features": 4, "kernel_size": 3}
BLOCKS = {"n_features": 4, "kernels": [3], "repeat": 1}
LAST = [{"n_features": 4, "kernel_size": 1}, {"kernel_size": 1}]


@pytest.mark.parametrize(
    ("arch", "changed", "message"),
    [
        ("SegResNet", {"use_conv_final": False}, "must be True, which jaxseg has; without it"),
        ("SegResNet", {"norm_name": "batch"}, "norm_name='batch': must be '' or 'group'"),
        ("SegResNet", {"spatial_dims": 1}, "spatial_dims=1: must be 2 or 3"),
        ("SegResNet", {"upsample_mode": "deconvgroup"}, "'deconv' or 'nontrainable'"),
        ("SegResNet", {"blocks_up": [1, 1]}, "must be 3 entries, for depths="),
        ("SegResNet", {"dropout_prob": 2.0}, "rate=2.0 is no probability"),
        ("SegResNetVAE", {}, "argument 'input_image_size' is missing"),
        ("SegResNetVAE", {"input_image_size": [32, 32]}, "must be 3 numbers"),
        ("SegResNetVAE", {"input_image_size": [32, 32, 8]}, "must be of at least 16"),
        ("SegResNetVAE", {"input_image_size": [16] * 3, "act": "prelu"}, "no prelu with a branch"),
        ("SegResNetVAE", {"input_image_size": [16] * 3, "vae_nz": 0}, "codes=0: must be at least"),
        ("HighResNet", {"channel_matching": "crop"}, "must be 'pad' or 'project'"),
        ("HighResNet", {"layer_params": [FIRST, *LAST]}, "of four layers or more"),
        ("HighResNet", {"layer_params": [FIRST, FIRST, *LAST]}, r"must be of \['kernels', 'n_fea"),
        ("HighResNet", {"layer_params": [FIRST, BLOCKS, LAST[0], FIRST]}, "kernel_size=3: must be"),
        (
            "HighResNet",
            {"layer_params": [FIRST, BLOCKS, BLOCKS | {"kernels": [5]}, *LAST]},
            r"kernels=\(5,\): must be \(3,\)",
        ),
        (
            "HighResNet",
            {"layer_params": [FIRST | {"n_features": 8}, BLOCKS, *LAST]},
            "conv_0: n_features=8: must be 4",
        ),
    ],
)
def test_networks_for_volumes_refuse_what_they_cannot_be(arch, changed, message):
    with pytest.raises(UserError, match=message):
        from_torch("monai.networks.nets", arch, changed, {})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims=1: must be 2 or 3"),
        ({"in_channels": 3}, "in_channels=3: must be a divisor of 16"),
        ({"act": None}, "act=None: must be an activation"),
        ({"dropout_dim": 0}, "dropout_dim=0: must be 1 or 2 or 3"),
        ({"dropout_prob_up": [0.5]}, "dropout_prob_up=.*must be two numbers"),
        ({"dropout_prob_down": 1.5}, r"down_dropouts=.*must be in \[0, 1\] each"),
        ({"dropout_prob": 0.5}, "VNet takes no argument 'dropout_prob'"),
    ],
)
def test_vnet_refuses_what_it_cannot_be(changed, message):
    with pytest.raises(UserError, match=message):
        from_torch("monai.networks.nets", "VNet", changed, {})


def test_a_slope_of_vnet_is_of_a_channel_where_only_its_name_is_given():
    slopes = [vnet(act=act).model.after.activation for act in ("prelu", ("prelu", {}), "PRELU")]
    assert slopes == ["prelu", "prelu_shared", "prelu_shared"]


def test_weights_of_another_depth_are_one_error_that_names_the_keys():
    deeper = UNET | {"channels": [4, 6, 8], "strides": [2, 2]}
    known = next(one for one in MONAI if one["kwargs"]["channels"] == [4, 6])
    drawn = {k: recorded.drawn_weight(k, shape) for k, shape in known["state_dict"]}
    with pytest.raises(UserError, match=r"missing model\.1\.submodule\.1\.submodule\.conv\.weight"):
        from_torch("monai.networks.nets", "UNet", deeper, drawn)
