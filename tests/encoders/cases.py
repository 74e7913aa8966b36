"""One row a family of encoders: how it is made small enough to compile in a test."""

import flax.linen as nn

from jaxseg.encoders import VGG, EfficientNetLite, MobileNetV2, MobileNetV3, Plain, ResNet

TINY: dict[str, nn.Module] = {
    "plain": Plain((4, 6, 8)),
    "resnet": ResNet(10, width=4),
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
}
"""A tiny encoder of each family, or of a form that goes other ways."""
