"""The arguments of its classes; the numbers of its networks stand in test_records."""

import numpy as np
import pytest

from jaxseg.convert import from_torch, names_of, to_torch
from jaxseg.convert.built import CENTRED, IMAGENET, build
from jaxseg.convert.segmentation_models_pytorch import NETWORKS
from jaxseg.convert.smp_encoder import OWN, TIMM, encoder_of
from jaxseg.encoders import VGG, Cut, MiT, ResNet
from jaxseg.errors import UserError
from jaxseg.models import create
from tests.models import pyramids

LIBRARY = "segmentation_models_pytorch"


def built(arch, **kwargs):
    return build(NETWORKS[arch], arch, {"encoder_name": "resnet18", **kwargs}).model


@pytest.mark.parametrize(
    ("arch", "name", "fields"),
    [
        ("FPN", "fpn", pyramids.FPN),
        ("Linknet", "linknet", pyramids.LINKNET),
        ("MAnet", "manet", pyramids.MANET),
        ("Segformer", "segformer", pyramids.SEGFORMER),
        ("UPerNet", "upernet", {**pyramids.UPERNET, "norm_of_top": "batch"}),
    ],
)
def test_its_networks_are_those_that_docstrings_name(arch, name, fields):
    assert built(arch) == create(name, num_classes=1, encoder="resnet18", **fields)


@pytest.mark.parametrize("name", [*OWN, *(f"tu-{name}.weights" for name in TIMM)])
def test_every_encoder_of_its_names_has_its_strides_and_a_table_of_names(name):
    encoder = encoder_of(name, 5, "with_empty")
    assert tuple(encoder.strides) == (2, 4, 8, 16, 32)
    names = names_of(create("unet", num_classes=1).clone(encoder=encoder), LIBRARY)
    assert any(pattern.startswith(r"encoder\.") for pattern, _ in names)


@pytest.mark.parametrize(
    ("name", "depth", "part", "encoder", "strides"),
    [
        ("resnet18", 3, "two", Cut(ResNet(18), 3), (2, 4, 8)),
        ("resnet18", 4, "four", Cut(ResNet(18), 4, 1), (4, 8, 16)),
        ("resnet18", 3, "last_four", Cut(ResNet(18), 3, first="image"), (1, 2, 4, 8)),
        ("vgg11", 3, "last_four", Cut(VGG(11), 4), (1, 2, 4, 8)),
        ("mit_b0", 5, "two", MiT(), (4, 8, 16, 32)),
        ("mit_b0", 4, "with_empty", Cut(MiT(), 3, first="empty"), (2, 4, 8, 16)),
        (
            "tu-resnet18",
            4,
            "two",
            Cut(ResNet(18), 4, deeper="none", place="model"),
            (2, 4, 8, 16),
        ),
    ],
)
def test_a_decoder_is_given_the_features_of_a_depth(name, depth, part, encoder, strides):
    found = encoder_of(name, depth, part)
    assert (found, tuple(found.strides)) == (encoder, strides)


@pytest.mark.parametrize(
    ("arch", "kwargs", "message"),
    [
        ("Unet", {"encoder_name": "resnet35"}, "'resnet35'; the nearest is 'resnet"),
        ("Unet", {"encoder_name": "tu-resnext50"}, "of timm is here that is called"),
        ("Unet", {"encoder_depth": 2}, "encoder_depth=2: must be 3, 4 or 5"),
        ("Unet", {"encoder_depth": 4}, "must be 4 widths, as many as encoder_depth"),
        ("Unet", {"activation": "sigmoid"}, "jaxseg's networks give logits"),
        ("Unet", {"aux_params": {"classes": 2}}, "scores the image as a whole"),
        ("Unet", {"classes": 0}, "at least 1"),
        ("Unet", {"decoder_interpolation": "bicubic"}, "or 'bilinear', which jaxseg has"),
        ("Unet", {"decoder_attention_type": "cbam"}, "must be None or 'scse'"),
        ("Unet", {"decoder_use_norm": "layernorm"}, "over the width of a map"),
        ("Unet", {"decoder_use_norm": "inplace"}, "absolute values"),
        ("Unet", {"decoder_use_norm": "instancenorm"}, "theirs cannot be constructed"),
        ("Unet", {"decoder_use_norm": {"type": "batchnorm", "eps": 1e-3}}, "must be 1e-05"),
        ("Unet", {"decoder_use_norm": {"eps": 1e-3}}, r"\['type'\]=None: must be 'batchnorm'"),
        ("UnetPlusPlus", {"encoder_name": "mit_b0"}, "UnetPlusPlus does not take it"),
        ("FPN", {"encoder_depth": 4}, "upsampling=4: must be 2, which jaxseg has: logits have"),
        ("FPN", {"encoder_name": "mit_b0", "encoder_depth": 4, "upsampling": 2}, "must be 5"),
        ("FPN", {"decoder_merge_policy": "mean"}, "must be 'add' or 'cat'"),
        ("FPN", {"decoder_segmentation_channels": 48}, "must be a multiple of 32"),
        ("PSPNet", {"upsampling": 4}, "upsampling=4: must be 8"),
        ("PAN", {"encoder_output_stride": 8}, "must be 16 or 32"),
        ("PAN", {"encoder_name": "vgg11"}, "has no encoder_output_stride=16 here"),
        ("PAN", {"decoder_interpolation": "nearest"}, "must be 'bilinear'"),
        ("DeepLabV3", {"encoder_name": "mit_b0"}, "has no encoder_output_stride=8 here"),
        ("DeepLabV3", {"encoder_name": "tu-resnet18"}, "has no encoder_output_stride=8 here"),
        ("DeepLabV3", {"decoder_atrous_rates": [6, 12]}, "three whole numbers"),
        ("DeepLabV3", {"upsampling": 4}, "upsampling=4: must be 8"),
        ("UPerNet", {"encoder_name": "tu-xception41", "encoder_depth": 4}, "must be 5"),
        ("DPT", {}, "no vision transformer is here"),
        ("Linknet", {"decoder_channels": [1]}, "Linknet takes no argument 'decoder_channels'"),
    ],
)
def test_what_nothing_here_computes_is_refused_in_one_line(arch, kwargs, message):
    with pytest.raises(UserError, match=message) as refused:
        built(arch, **kwargs)
    assert "\n" not in str(refused.value)


def test_the_older_name_of_a_norm_counts_first():
    assert built("Unet", decoder_use_batchnorm=False).norm == "none"
    assert built("PSPNet", psp_use_batchnorm=False).norm == "none"
    assert built("Unet", decoder_use_norm={"type": "identity"}).norm == "none"
    affine = {"type": "instancenorm", "affine": True}
    assert built("MAnet", decoder_use_norm=affine).norm == "instance"
    assert built("UPerNet", decoder_use_norm=affine).norm_of_top == "batch"


def test_keys_of_another_network_are_named_or_counted_where_they_are_many():
    zeros = {"encoder.conv1.weight": np.zeros((64, 3, 7, 7)), "decoder.blocks.9.x.weight": [0.0]}
    with pytest.raises(UserError, match="unexpected decoder.blocks.9.x.weight") as refused:
        from_torch(LIBRARY, "Unet", {"encoder_name": "resnet18"}, zeros)
    said = str(refused.value)
    assert said.count("; missing decoder.blocks.") == 5 and said.endswith("; 146 more missing")
    assert "missing encoder.bn1.weight (64,)" in str(refused.value.__cause__.__cause__)


def test_a_network_of_a_library_that_is_not_asked_for_is_refused():
    model = built("DeepLabV3")
    with pytest.raises(UserError, match="no names are known of the library 'torchvision'"):
        to_torch(model, {"params": {"head": {"kernel": np.zeros((1, 1, 2, 2))}}}, "torchvision")


def test_what_imagenet_weights_expect_is_known_for_three_channels():
    def expected(**kwargs):
        return build(NETWORKS["Unet"], "Unet", kwargs).standardize

    assert expected(encoder_name="resnet18") == IMAGENET and expected(in_channels=1) is None
    assert expected(encoder_name="xception") == CENTRED
