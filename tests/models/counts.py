"""What the founders' counts of peers' networks are called here.

`test_counts.py` walks all counts: each stands in one of these tables, or `LEFT_OUT` says why not.
"""

from typing import Any

from jaxseg.encoders import ENCODERS, VGG, Plain, ResNet
from tests.models import pyramids
from tests.models.deeplab_counts import DEEPLAB

ALONE = (
    "plain",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "mobilenet_v3_large",
    "efficientnet_lite0",
    "espnet_c",
    *(f"mit_b{i}" for i in range(6)),
    "xception41",
    "xception65",
    "xception71",
    "alexnet",
    "caffenet",
)
"""Encoders of ours that segmentation_models_pytorch has not, or by another name."""

Row = tuple[str, dict[str, Any]]
"""A key of ``MODELS`` and the fields of the network; classes and size are the count's."""

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
VALID = ("unet/original-2015/1in2cls", "unet/original-2015/3in2cls", "unet/original-2015/3in21cls")

SMP = ("resnet18", "resnet34", "resnet50", "resnet101")
"""Encoders with which segmentation_models_pytorch's other networks were counted."""

NESTED = {"nodes": "smp", "width": 16, "upsample": "nearest", "head_kernel": 3}
"""Fields of ``unet_plus_plus`` in segmentation_models_pytorch."""

LEARNT = {"upsample": "learnt"}


def after_vgg(depth: int, norm: str) -> dict[str, Any]:
    """Their Unet has no skip of full resolution and two convolutions after VGG."""
    encoder = VGG(depth, finest=2, norm=norm)
    return {"encoder": encoder, "centre": (512, 512), "norm": "batch"}


NETWORKS: dict[str, Row] = {
    "caffe/deconvnet": ("deconvnet", {}),
    "caffe/segnet_camvid": ("segnet", {}),
    "caffe/segnet_pascal": ("segnet", {}),
    "caffe/segnet_basic_camvid": ("segnet_basic", {}),
    "caffe/voc-fcn32s": ("fcn32s", LEARNT),
    "caffe/voc-fcn16s": ("fcn16s", LEARNT),
    "caffe/voc-fcn8s": ("fcn8s", LEARNT),
    "caffe/voc-fcn8s-atonce": ("fcn8s_at_once", LEARNT),
    "caffe/voc-fcn-alexnet": ("fcn_alexnet", LEARNT),
    "fcn/FCN32s": ("fcn32s", LEARNT),
    "fcn/FCN16s": ("fcn16s", LEARNT),
    "fcn/FCN8s": ("fcn8s", LEARNT),
    "fcn/FCN8sAtOnce": ("fcn8s_at_once", LEARNT),
    "fcn/FCN-AlexNet": ("fcn_alexnet", LEARNT),
    **{
        f"enet/davidtvs/{size}": ("enet", {"form": "davidtvs"})
        for size in (
            *("11cls/360x480", "12cls/360x480", "19cls/512x1024", "20cls/512x1024"),
            "21cls/512x512",
        )
    },
    **{
        f"fcdensenet/FCDenseNet{theirs}/{classes}cls": (f"fc_densenet{ours}", {})
        for theirs, ours in ((57, 56), (67, 67), (103, 103))
        for classes in (11, 12)
    },
    "fcdensenet/FC-DenseNet56/11cls (paper name)": ("fc_densenet56", {}),
    **{
        f"torchvision/fcn_resnet{depth}{what}": (
            "fcn",
            {
                "encoder": ResNet(depth, output_stride=8, dilated="after_first"),
                "auxiliary": "head" if what == "+aux" else "none",
            },
        )
        for depth in (50, 101)
        for what in ("", "+aux", "@512")
    },
    **{f"smp/Unet/{name}": ("unet", {"encoder": name}) for name in RESNETS},
    **{f"smp/UnetPlusPlus/{name}": ("unet_plus_plus", {"encoder": name, **NESTED}) for name in SMP},
    **{
        f"smp/UnetPlusPlus/{name}": ("unet_plus_plus", {"encoder": name, **NESTED})
        for name in ("densenet121", "xception", "mobilenet_v2")
    },
    "smp/Unet/mobilenet_v2": ("unet", {"encoder": "mobilenet_v2"}),
    "smp/Unet/tu-mobilenetv3_large_100": ("unet", {"encoder": "mobilenet_v3_large"}),
    "smp/Unet/densenet121": ("unet", {"encoder": "densenet121"}),
    "smp/Unet/densenet169": ("unet", {"encoder": "densenet169"}),
    "smp/Unet/densenet201": ("unet", {"encoder": "densenet201"}),
    "smp/Unet/xception": ("unet", {"encoder": "xception"}),
    "smp/Unet/vgg16": ("unet", after_vgg(16, "none")),
    "smp/Unet/vgg16_bn": ("unet", after_vgg(16, "batch")),
    "smp/Unet/vgg19_bn": ("unet", after_vgg(19, "batch")),
    **pyramids.NETWORKS,
    **DEEPLAB,
    **{
        f"refinenet/resnet{depth}": ("refinenet", {"encoder": f"resnet{depth}"})
        for depth in (50, 101, 152)
    },
    **{key: ("unet_2015", {}) for key in VALID},
    "unet/same-pad-bn(bias=False)/3in21cls": ("unet", {}),
    "unet/same-pad-nobn/3in21cls": ("unet", {"encoder": Plain(norm="none")}),
}

_RESNEXT = {"32x4d": 4, "32x16d": 16, "32x32d": 32, "32x48d": 48}
FEATURES: dict[str, Row] = {
    **{f"smp-encoder/{name}": (name, {}) for name in ENCODERS if name not in ALONE},
    **{
        f"smp-encoder/resnext101_{name}": ("resnext101_32x8d", {"base_width": width})
        for name, width in _RESNEXT.items()
    },
    "smp-encoder/tu-resnet50": ("resnet50", {}),
    "smp-encoder/tu-xception65": ("xception65", {}),
    "encoder/TF-xception65 (no classifier)": ("xception65", {}),
    "encoder/TF-xception41 (no classifier)": ("xception41", {}),
    "smp-encoder/tu-mobilenetv3_large_100": ("mobilenet_v3_large", {}),
}
"""Encoders without their classifier: a key of ``ENCODERS`` and its fields."""

_TORCHVISION = (
    *("alexnet", "mobilenet_v2", "mobilenet_v3_large"),
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *RESNETS,
    *("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
)
CLASSIFIERS: dict[str, Row] = {
    **{f"encoder/torchvision/{name}": (name, {}) for name in _TORCHVISION},
    "encoder/timm/legacy_xception": ("xception", {"stem": "valid"}),
    **{f"encoder/timm/xception{n}": (f"xception{n}", {}) for n in (41, 65, 71)},
    "encoder/timm/vgg16": ("vgg16", {}),
    "encoder/timm/resnet50s": ("resnet50", {"stem": "deep"}),
    "encoder/timm/mobilenetv2_100": ("mobilenet_v2", {}),
    "encoder/timm/mobilenetv3_large_100": ("mobilenet_v3_large", {}),
    "encoder/AlexNet-2012(CaffeNet, groups=2)": ("caffenet", {"padding": "paper"}),
}
"""Encoders with the classifier of their paper: a key of ``ENCODERS`` and its fields."""
CLASSIFIERS["encoder/torchvision/alexnet"] = ("alexnet", {"padding": "paper"})

LOGITS_ONLY = r"pspnet/.*"
"""Counts whose MACs leave auxiliary heads out: these did not run there, as in evaluation."""

LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"(erfnet|bisenet|fastscnn)/.*", "compact networks that are not in our list"),
    (r"unet/milesial/.*", "GPL code's form: a bias before each norm, or halved by bilinear"),
    (r"encoder/timm/resnet(50|101)c", "a deep stem of half the width, which is none of ours"),
    (r"encoder/timm/resnet50d", "average pooling in shortcuts, which is none of our encoders'"),
    (r"encoder/timm/xception(41|65)p", "the pre-activated form, which is none of ours"),
    (r"encoder/.*", "encoders that are not here"),
    (r"smp-encoder/.*lite0", "counts a last convolution that it never runs"),
    (r"smp-encoder/.*", "not yet here, or never"),
    (r"smp/UnetPlusPlus/vgg16_bn", "counts two convolutions after VGG that it never runs"),
    (r"caffe/crfrnn.*", "FCN-8s with 21 parameters more than the released one"),
    (r"meetps/segnet", "a norm and a ReLU after the classifier"),
    (r"meetps/(unet|frrn)", "not in our list of networks"),
    (r"torchvision/deeplabv3_mobilenet_v3_large\+aux", "the auxiliary head is on a finer feature"),
    (r"deeplabv2/.*/MSC/.*", "its reduced images are a pixel smaller: corners are not aligned"),
    (r"smp/DeepLabV3(Plus)?/efficientnet-b0", "an encoder that is not here"),
    (r"deeplabv3plus/jfzhang95/xception/.*", "norms at other places of Xception than TF's"),
    (r"deeplab.*/(VainF/.*_|jfzhang95/)mobilenet/.*", "MobileNetV2 without its last convolution"),
    (r"deeplab/VainF/.*_(xception|hrnetv2_48)/.*", "encoders that are not here"),
    (r"deeplabv3plus/TF-xception65/os16 no decoder", "v3+ without its decoder is none of ours"),
    (r"csail/.*\+c1(_deepsup)?/.*", "CSAIL's C1 decoder is none of ours"),
    (r"pan/JaveyWang/.*", "a GPL port of other widths, with a classifier that it never runs"),
    (r"smp/PSPNet/mobilenet_v2", "its encoder runs a stage more than it gives"),
    (r"smp/.*/.*(efficientnet|inception|convnext).*", "an encoder that is not here"),
    (r"smp/DPT/.*", "a decoder on vision transformers, which is not in our list of networks"),
)
"""Patterns of counts that are not compared, and why."""
