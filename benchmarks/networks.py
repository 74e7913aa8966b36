"""The networks that are measured, and on what images: a table a benchmark."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax

from jaxseg.encoders import Plain, ResNet
from jaxseg.encoders import create as encoder
from jaxseg.layers.inverted_residual import InvertedResidual
from jaxseg.layers.separable import SeparableConv
from jaxseg.layers.squeeze_excitation import SqueezeExcitation
from jaxseg.models import MODELS, UNet, create

# --- benchmarks.models ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A network and its images; sizes by preset are (batch, *spatial)."""

    model: str
    fields: dict[str, Any] = field(default_factory=dict)
    cpu: tuple[int, ...] = (2, 256, 256)
    gpu: tuple[int, ...] = (16, 512, 512)
    smoke: tuple[int, ...] = (2, 32, 32)
    channels: int = 3
    classes: int = 21


SPECIAL = {
    "unet": Row("unet", gpu=(32, 512, 512)),
    "unet_resnet34": Row("unet", {"encoder": "resnet34"}, gpu=(64, 512, 512)),
    "unet_resnet50": Row("unet", {"encoder": "resnet50"}, gpu=(64, 512, 512)),
    "unet_16": Row("unet", {"encoder": Plain(widths=(16, 32, 64, 128, 256))}, gpu=(64, 512, 512)),
    "unet_volume": Row(
        "unet",
        {"encoder": Plain(widths=(16, 32, 64, 128))},
        cpu=(1, 64, 64, 64),
        gpu=(4, 128, 128, 128),
        smoke=(1, 8, 8, 8),
        channels=1,
        classes=2,
    ),
    "kinet": Row("kinet", cpu=(1, 128, 128), gpu=(4, 128, 128), smoke=(1, 8, 8)),
    "kiunet": Row("kiunet", cpu=(1, 128, 128), gpu=(4, 128, 128), smoke=(1, 8, 8)),
    "unet_2015": Row("unet_2015", cpu=(1, 572, 572), gpu=(8, 572, 572), channels=1, classes=2),
}
"""Rows whose images, classes or fields are others than those of most."""

ROWS = {name: Row(name) for name in MODELS} | SPECIAL


# --- benchmarks.against_torch ---------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A network in both frameworks; sizes by preset are (batch, *spatial)."""

    model: nn.Module
    network: str
    fields: Mapping[str, Any]
    sizes: Mapping[str, tuple[int, ...]]
    channels: int = 3
    tasks: tuple[str, ...] = ("training",)


class XceptionBlock(nn.Module):
    """``x`` plus three times ReLU, separable convolution, norm: figure 5's middle flow."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """A map of the same shape."""
        y = x
        for i in (1, 2, 3):
            separable = SeparableConv(
                x.shape[-1],
                norm_between=False,
                before="relu",
                between="none",
                after="none",
                name=f"separable{i}",
            )
            y = separable(y, train=train)
        return x + y


def unet(widths: tuple[int, ...], rank: int, channels: int, sizes, tasks=("training",)) -> Case:
    """A row of the plain U-Net."""
    fields = {"rank": rank, "channels": channels, "classes": 2, "widths": widths}
    return Case(UNet(2, encoder=Plain(widths=widths)), "unet", fields, sizes, channels, tasks)


PEER = "peer"
"""The network of a case that is made by a library, not written in ``torch_networks``."""

SMP = "segmentation_models_pytorch"


def smp(model: str, arch: str, name: str, *, smoke: int = 64, **fields: Any) -> Case:
    """A row of a network that segmentation_models_pytorch has as well, on an encoder by name."""
    theirs = {"library": SMP, "arch": arch, "encoder_name": name}
    return peer(create(model, num_classes=21, **{"encoder": name, **fields}), theirs, smoke)


def torchvision(model: str, arch: str, *, smoke: int = 64, **fields: Any) -> Case:
    """A row of a network that torchvision has as well."""
    theirs = {"library": "torchvision.models.segmentation", "arch": arch}
    return peer(create(model, num_classes=21, **fields), theirs, smoke)


def peer(model: nn.Module, theirs: dict[str, Any], smoke: int) -> Case:
    """A row of a library's network, on 21 classes; neither side drops out."""
    sizes = {"cpu": (2, 128, 128), "gpu": (16, 512, 512), "smoke": (2, smoke, smoke)}
    return Case(model, PEER, {**theirs, "classes": 21}, sizes)


DILATED = {stride: ResNet(50, output_stride=stride) for stride in (8, 16)}
NESTED = {"nodes": "smp", "width": 16, "upsample": "nearest", "head_kernel": 3}
FPN = {"smooth": "none", "align_corners": True, "dropout": 0.0}
V3 = {"context_convs": 1, "order": "torch", "dropout": 0.0}
V3_PLUS = {**V3, "form": "community", "decoder_convs": 1, "rates": (12, 24, 36)}
PAN = {"encoder": DILATED[16], "gate": "sigmoid", "use_bias": True}
SEGFORMER = {"encoder": encoder("mit_b0", drop_path=0.0), "align_corners": True, "dropout": 0.0}
UPERNET = {"width": 256, "reduced": "pooled", "feature_norm": "layer", "align_corners": True}
PSPNET = {
    "feature": -3,
    "auxiliary": "none",
    "order": "input_last",
    "norm_of_one": "none",
    "fusion_kernel": 1,
    "head_kernel": 3,
    "dropout": 0.0,
}

PEERS = {
    "smp_unet_resnet50": smp("unet", "Unet", "resnet50"),
    "smp_unet_mobilenet_v2": smp("unet", "Unet", "mobilenet_v2"),
    "smp_unetplusplus_resnet34": smp("unet_plus_plus", "UnetPlusPlus", "resnet34", **NESTED),
    "smp_fpn_resnet50": smp("fpn", "FPN", "resnet50", **FPN),
    "smp_pspnet_resnet50": smp("pspnet", "PSPNet", "resnet50", **PSPNET),
    "smp_linknet_resnet34": smp("linknet", "Linknet", "resnet34", form="smp"),
    "smp_pan_resnet50": smp("pan", "PAN", "resnet50", smoke=128, **PAN),
    "smp_manet_resnet34": smp("manet", "MAnet", "resnet34", attention="smp"),
    "smp_segformer_mit_b0": smp("segformer", "Segformer", "mit_b0", **SEGFORMER),
    "smp_upernet_resnet34": smp("upernet", "UPerNet", "resnet34", **UPERNET),
    "smp_deeplabv3_resnet50": smp("deeplab_v3", "DeepLabV3", "resnet50", encoder=DILATED[8], **V3),
    "smp_deeplabv3plus_resnet50": smp(
        "deeplab_v3_plus", "DeepLabV3Plus", "resnet50", encoder=DILATED[16], **V3_PLUS
    ),
    "tv_fcn_resnet50": torchvision("fcn", "fcn_resnet50", dropout=0.0),
    "tv_lraspp_mobilenet_v3_large": torchvision("lraspp", "lraspp_mobilenet_v3_large"),
    "tv_deeplabv3_resnet50": torchvision(
        "deeplab_v3",
        "deeplabv3_resnet50",
        encoder=ResNet(50, output_stride=8, dilated="after_first"),
        align_corners=False,
        **V3,
    ),
}
"""Networks of segmentation_models_pytorch and torchvision, by the library's names."""

CASES = {
    "unet31m": unet(
        (64, 128, 256, 512, 1024),
        2,
        3,
        {"cpu": (2, 256, 256), "gpu": (16, 512, 512), "smoke": (1, 32, 32)},
        ("inference", "training"),
    ),
    "unet16": unet(
        (16, 32, 64, 128, 256),
        2,
        3,
        {"cpu": (4, 128, 128), "gpu": (64, 512, 512), "smoke": (2, 32, 32)},
        ("inference", "training"),
    ),
    "unet3d": unet(
        (16, 32, 64, 128),
        3,
        1,
        {"cpu": (1, 64, 64, 64), "gpu": (4, 128, 128, 128), "smoke": (1, 16, 16, 16)},
        ("inference", "training"),
    ),
    "unet_resnet34": Case(
        UNet(2, encoder=ResNet(depth=34)),
        "resnet_unet",
        {"channels": 3, "classes": 2},
        {"cpu": (2, 256, 256), "gpu": (32, 512, 512), "smoke": (1, 64, 64)},
        tasks=("inference", "training"),
    ),
    "xception_block": Case(
        XceptionBlock(),
        "xception_block",
        {"channels": 256},
        {"cpu": (2, 64, 64), "gpu": (64, 64, 64), "smoke": (1, 8, 8)},
        channels=256,
        tasks=("inference", "training"),
    ),
    "mbconv": Case(
        InvertedResidual(
            64,
            width=384,
            kernel_size=5,
            activation="silu",
            squeeze=SqueezeExcitation(width=16, activation="silu"),
        ),
        "mbconv",
        {"channels": 64, "width": 384, "kernel": 5, "squeezed": 16},
        {"cpu": (2, 64, 64), "gpu": (64, 64, 64), "smoke": (1, 8, 8)},
        channels=64,
        tasks=("inference", "training"),
    ),
    **PEERS,
}
