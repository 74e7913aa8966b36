"""The pyramid networks of the founders' counts, and the fields that make ours the peers'."""

from typing import Any

from jaxseg.encoders import ENCODERS, VGG, ResNet

Row = tuple[str, dict[str, Any]]

DILATED = ("resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2")
SMP = (*DILATED, "vgg16_bn", "densenet121", "xception")
"""Encoders with which segmentation_models_pytorch's networks were counted, and that are here.

The first are those that it dilates.
"""

DEEP = {"stem": "deep", "output_stride": 8}
FPN = {"smooth": "none", "align_corners": True, "dropout": 0.2}
LINKNET = {"form": "smp"}
MANET = {"attention": "smp"}
PAN = {"gate": "sigmoid", "use_bias": True}
PSPNET = {
    "feature": -3,
    "auxiliary": "none",
    "order": "input_last",
    "norm_of_one": "none",
    "fusion_kernel": 1,
    "head_kernel": 3,
    "dropout": 0.2,
}
SEGFORMER = {"align_corners": True, "dropout": 0.0}
UPERNET = {"width": 256, "reduced": "pooled", "feature_norm": "layer", "align_corners": True}


def fpns() -> dict[str, Row]:
    """Semantic FPNs of the paper's form, with the last convolutions of the pyramid and without."""
    found: dict[str, Row] = {}
    for encoder in ("resnet50", "resnet101"):
        found[f"semanticfpn/{encoder}"] = ("fpn", {"encoder": encoder})
        fields = {"encoder": encoder, "smooth": "none"}
        found[f"semanticfpn/{encoder}-nosmooth(=SMP)"] = ("fpn", fields)
    return found


def pspnets() -> dict[str, Row]:
    """PSPNets of the authors' two codes, of papers' tables, of CSAIL."""
    found: dict[str, Row] = {}
    for depth in (50, 101, 152):
        encoder = ResNet(depth, **DEEP)
        for classes in (19, 21, 150):
            key = f"pspnet/semseg/resnet{depth}/{classes}cls+aux"
            found[key] = ("pspnet", {"encoder": encoder})
    for depth in (50, 101):
        encoders = {"deep": ResNet(depth, **DEEP), "7x7": ResNet(depth, output_stride=8)}
        for stem, encoder in encoders.items():
            key = f"pspnet/paper/resnet{depth}-{stem}stem"
            found[key] = ("pspnet", {"encoder": encoder, "auxiliary": "none"})
            found[f"{key}+aux"] = ("pspnet", {"encoder": encoder})
    released = {
        "pspnet50_ADE20K_473": ResNet(50, strided="1x1", **DEEP),
        "pspnet101_VOC2012_473": ResNet(101, **DEEP),
        "pspnet101_cityscapes_713": ResNet(101, **DEEP),
    }
    for key, encoder in released.items():
        found[f"caffe/{key}"] = ("pspnet", {"encoder": encoder, "auxiliary": "none"})
    for depth, width in ((18, 128), (50, 512), (101, 512)):
        encoder = ResNet(depth, dilated="after_first", **DEEP)
        fields = {"branch_width": 512, "auxiliary_width": width, "align_corners": False}
        key = f"csail/resnet{depth}dilated+ppm_deepsup/150cls"
        found[key] = ("pspnet", {"encoder": encoder, **fields})
    return found


def of_smp() -> dict[str, Row]:
    """Those of segmentation_models_pytorch. Its PSPNet is of a depth, 3 if none is named."""
    found: dict[str, Row] = {}
    for name in SMP:
        found[f"smp/FPN/{name}"] = ("fpn", {"encoder": name, **FPN})
        found[f"smp/Linknet/{name}"] = ("linknet", {"encoder": name, **LINKNET})
        # their MAnet has no skip of full resolution
        encoder = VGG(16, finest=2, norm="batch") if name == "vgg16_bn" else name
        found[f"smp/MAnet/{name}"] = ("manet", {"encoder": encoder, **MANET})
        found[f"smp/Segformer/{name}"] = ("segformer", {"encoder": name, **SEGFORMER})
        found[f"smp/UPerNet/{name}"] = ("upernet", {"encoder": name, **UPERNET})
        if name != "mobilenet_v2":  # whose encoder runs a stage more there than it gives
            found[f"smp/PSPNet/{name}"] = ("pspnet", {"encoder": ENCODERS[name](), **PSPNET})
    for i in range(6):
        found[f"smp/Segformer/mit_b{i}"] = ("segformer", {"encoder": f"mit_b{i}", **SEGFORMER})
    for name in DILATED:
        found[f"smp/PAN/{name}"] = ("pan", {"encoder": name, **PAN})
    for name, depth in (("resnet50", 4), ("resnet50", 5), ("resnet101", 5)):
        fields = {"encoder": ENCODERS[name](), **PSPNET, "feature": depth - 6}
        found[f"smp/PSPNet/{name} depth={depth}"] = ("pspnet", fields)
    return found


NETWORKS: dict[str, Row] = {
    **fpns(),
    **pspnets(),
    **of_smp(),
    "torchvision/lraspp_mobilenet_v3_large": ("lraspp", {}),
    "torchvision/lraspp_mobilenet_v3_large@512": ("lraspp", {}),
    "csail/resnet50+upernet/150cls": ("upernet", {}),
    "csail/resnet101+upernet/150cls": ("upernet", {"encoder": ResNet(101, stem="deep")}),
}
"""A key of ``MODELS`` and the fields of the network, by the count's name."""
