"""One row a family of encoders: how it is made small enough to compile in a test."""

import flax.linen as nn

from jaxseg.encoders import VGG, Plain, ResNet

TINY: dict[str, nn.Module] = {
    "plain": Plain((4, 6, 8)),
    "resnet": ResNet(10, width=4),
    "vgg": VGG(11, width=4, norm="batch"),
}
"""A tiny encoder of each family, or of a form that goes other ways."""
