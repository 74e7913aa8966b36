"""What the founders' counts of peers' networks are called here.

`test_counts.py` walks all counts: each stands in one of these tables, or `LEFT_OUT` says why not.
"""

from typing import Any

from jaxseg.encoders import ENCODERS

Row = tuple[str, dict[str, Any]]
"""A key of ``MODELS`` and the fields of the network; classes and size are the count's."""

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
VALID = {"unet/original-2015/1in2cls", "unet/original-2015/3in2cls", "unet/original-2015/3in21cls"}

NETWORKS: dict[str, Row] = {
    **{f"smp/Unet/{name}": ("unet", {"encoder": name}) for name in RESNETS},
    **{key: ("unet_2015", {}) for key in VALID},
    "unet/same-pad-bn(bias=False)/3in21cls": ("unet", {}),
}

FEATURES: dict[str, str] = {f"smp-encoder/{name}": name for name in ENCODERS if name != "plain"}
"""Encoders without their classifier, by our name."""

LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"(enet|erfnet|bisenet|fastscnn)/.*", "a compact network, of the next issues or of none"),
    (r"unet/milesial/.*", "GPL code's form: a bias before each norm, or halved by bilinear"),
    (r"unet/same-pad-nobn/.*", "a U-Net without norms is none of ours"),
    (r"encoder/.*", "not yet here: encoders with their classifiers"),
    (r"smp-encoder/.*", "not yet here, or never"),
    (r"torchvision/.*|caffe/.*|fcn/.*|meetps/.*", "not yet here: fully convolutional"),
    (r"smp/Unet(PlusPlus)?/.*", "not yet here: nested, and more encoders"),
    (r"(deeplab.*|smp/DeepLab.*|zijundeng)/.*", "not yet here: DeepLab"),
    (r"(pspnet|csail|semanticfpn|refinenet|pan)/.*", "not yet here: pyramids"),
    (r"smp/(FPN|PSPNet|PAN|Linknet|MAnet|UPerNet|Segformer|DPT)/.*", "not yet here: pyramids"),
    (r"fcdensenet/.*", "not yet here: dense"),
)
"""Patterns of counts that are not compared, and why."""
