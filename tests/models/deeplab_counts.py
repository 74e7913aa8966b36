"""The counts of DeepLab and its relatives, for `counts.py`."""

from typing import Any

import flax.linen as nn

from jaxseg.encoders import VGG, ResNet, create

Row = tuple[str, dict[str, Any]]

DEPTHS, STRIDES = (18, 34, 50, 101), (16, 8)

V3_PLUS = {"form": "community", "context_convs": 1, "decoder_convs": 1, "order": "torch"}
"""DeepLab v3+ of segmentation_models_pytorch, but for its dropout, and for rates at stride 16."""


def _v3_plus() -> dict[str, Row]:
    def row(depth: int, stride: int, **fields: Any) -> Row:
        fields = {"form": "standard", **fields}
        return "deeplab_v3_plus", {"encoder": ResNet(depth, output_stride=stride), **fields}

    rows = {f"smp/DeepLabV3Plus/resnet{depth}": row(depth, 16, **V3_PLUS) for depth in DEPTHS}
    for name in ("mobilenet_v2", "xception65"):
        key = f"smp/DeepLabV3Plus/{name.replace('xception', 'tu-xception')}"
        rows[key] = row(50, 16, encoder=create(name, output_stride=16), **V3_PLUS)
    for depth in (50, 101):
        rows[f"smp/DeepLabV3Plus/resnet{depth} os8"] = row(depth, 8, **V3_PLUS)
        encoder = ResNet(depth, output_stride=16, strided="1x1")
        rows[f"deeplabv3plus/kazuto/resnet{depth}/os16"] = row(depth, 16, encoder=encoder)
    for stride in STRIDES:
        rows[f"deeplabv3plus/jfzhang95/resnet/os{stride}"] = row(101, stride)
        for depth in (50, 101):
            key = f"deeplab/VainF/deeplabv3plus_resnet{depth}/os{stride}"
            rows[key] = row(depth, stride, decoder_convs=1)
    return rows


TF_XCEPTION = {
    "deeplabv3plus/TF-xception65/os16": ("xception65", 16, {}),
    "deeplabv3plus/TF-xception65/os8": ("xception65", 8, {}),
    "deeplabv3plus/TF-xception65/os16 plain-conv ASPP+decoder": (
        "xception65",
        16,
        {"form": "standard"},
    ),
    "deeplabv3plus/TF-xception41/os16": ("xception41", 16, {}),
}


def _tf() -> dict[str, Row]:
    return {
        key: ("deeplab_v3_plus", {"encoder": create(name, output_stride=stride), **fields})
        for key, (name, stride, fields) in TF_XCEPTION.items()
    }


V3 = {"context_convs": 1, "order": "torch", "dropout": 0.5}
"""DeepLab v3 of torchvision and segmentation_models_pytorch, but for corners and rates."""


def _v3() -> dict[str, Row]:
    def row(encoder: nn.Module, **fields: Any) -> Row:
        return "deeplab_v3", {"encoder": encoder, **fields}

    rows = {}
    for depth in (50, 101):
        resnet = {s: ResNet(depth, output_stride=s) for s in STRIDES}
        deep = {s: ResNet(depth, output_stride=s, stem="deep") for s in STRIDES}
        for size in ("", "@512"):
            rows[f"torchvision/deeplabv3_resnet{depth}{size}"] = row(resnet[8], **V3)
        aux = row(resnet[8], **V3, auxiliary="head")
        rows[f"torchvision/deeplabv3_resnet{depth}+aux"] = aux
        rows[f"smp/DeepLabV3/resnet{depth} os16"] = row(resnet[16], **V3)
        rows[f"deeplabv3/paper/resnet{depth}-7x7stem/os16"] = row(resnet[16])
        for stride in STRIDES:
            strided = ResNet(depth, output_stride=stride, strided="1x1")
            rows[f"deeplabv3/kazuto/resnet{depth}/os{stride}"] = row(strided)
            rows[f"deeplab/VainF/deeplabv3_resnet{depth}/os{stride}"] = row(resnet[stride], **V3)
            rows[f"deeplabv3/paper-TF/resnet{depth}/os{stride}"] = row(deep[stride])
    for depth in DEPTHS:
        rows[f"smp/DeepLabV3/resnet{depth}"] = row(ResNet(depth, output_stride=8), **V3)
    for name in ("mobilenet_v2", "xception65"):
        key = name.replace("xception", "tu-xception")
        rows[f"smp/DeepLabV3/{key}"] = row(create(name, output_stride=8), **V3)
    encoder = ResNet(101, output_stride=16, stem="deep")
    for count in (1, 2, 3):
        key = f"deeplabv3/cascaded-resnet101-block{4 + count}/os16"
        rows[key] = row(encoder, context="cascade", cascade=count)
    mobile = create("mobilenet_v3_large", output_stride=16)
    for size in ("", "@512"):
        rows[f"torchvision/deeplabv3_mobilenet_v3_large{size}"] = row(mobile, **V3)
    return rows


ONE_SCALE = {"scales": (1.0,)}
ASPP_L = {"encoder": VGG(16, output_stride=8, pool="ceil", pool_size=3), "hidden": 1024}


def _before_v3() -> dict[str, Row]:
    """Versions 1 and 2, and dense upsampling."""
    rows: dict[str, Row] = {
        "deeplabv1/vgg16-LargeFOV": ("deeplab_v1", {}),
        "deeplabv1/vgg16-basic(7x7,4096,dil4)": (
            "deeplab_v1",
            {"kernel_size": 7, "dilation": 4, "hidden": 4096},
        ),
        "deeplabv1/vgg16-4x4(4096,dil4)": (
            "deeplab_v1",
            {"kernel_size": 4, "dilation": 4, "hidden": 4096},
        ),
    }
    for key in ("deeplabv2/vgg16-ASPP-L", "caffe/deeplabv2_vgg16_aspp"):
        rows[key] = ("deeplab_v2", {**ASPP_L, **ONE_SCALE})
    for depth in (50, 101):
        encoder = ResNet(depth, strided="1x1", output_stride=8, pool="ceil")
        for size in (321, 513):
            key = f"deeplabv2/resnet{depth}/{size}"
            rows[key] = ("deeplab_v2", {"encoder": encoder, **ONE_SCALE})
    duc = {"encoder": ResNet(152, output_stride=8), "upsampling": "conv_norm"}
    return {**rows, "zijundeng/ResNetDUC": ("hdc_duc", duc)}


DEEPLAB: dict[str, Row] = {**_before_v3(), **_v3_plus(), **_v3(), **_tf()}
