"""One row a family of encoders: how it is made small enough to compile in a test."""

import flax.linen as nn

from jaxseg.encoders import (
    VGG,
    AlexNet,
    AlignedXception,
    DenseNet,
    EfficientNetLite,
    ESPNetC,
    MiT,
    MobileNetV2,
    MobileNetV3,
    Plain,
    ResNet,
    Xception,
)

TINY: dict[str, nn.Module] = {
    "plain": Plain((4, 6, 8)),
    "resnet": ResNet(10, width=4),
    "resnext": ResNet(14, width=4, groups=2, base_width=32),
    "vgg": VGG(11, width=4, norm="batch"),
    "mobilenet_v2": MobileNetV2(
        ((1, 4, 1, 1), (2, 4, 2, 2), (2, 6, 1, 2), (2, 8, 1, 2)), width=4, last=8, output_stride=8
    ),
    "mobilenet_v3": MobileNetV3(
        (
            (3, 4, 4, 0, "relu", 1),
            (3, 8, 4, 4, "relu", 2),
            (5, 8, 6, 4, "hard_swish", 2),
            (3, 12, 6, 0, "hard_swish", 1),
        ),
        width=4,
        last=8,
    ),
    "efficientnet_lite": EfficientNetLite(
        ((3, 1, 4, 1, 1), (3, 2, 4, 1, 2), (5, 2, 6, 2, 2)), width=4
    ),
    "espnet": ESPNetC((4, 3, 6), depths=(1, 1)),
    "mit": MiT((4, 6), blocks=(1, 2), heads=(1, 2), reductions=(2, 1), expansion=2),
    "densenet": DenseNet((1, 2), growth=2, width=4, bottleneck=2),
    "xception": Xception(entry=(2, 4, 6), middle=1, exit=(6, 8, 8)),
    "xception_aligned": AlignedXception(
        (2, 4), entry=((4, 2),), middle=0, exit=(4, 6, 6, 6, 6, 8), output_stride=8
    ),
    "alexnet": AlexNet(widths=(4, 6, 6, 6, 4), form="caffenet"),
}
"""A tiny encoder of each family, or of a form that goes other ways."""
