"""segmentation_models_pytorch's networks: for each of its classes, what computes the same here.

``encoder_weights`` says nothing about the network and is taken for that reason only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.convert.built import Builder, Built
from jaxseg.encoders import ENCODERS
from jaxseg.errors import unknown
from jaxseg.models import UNet


def _encoder(name: str, **fields: Any) -> Any:
    if name not in ENCODERS:
        raise unknown(
            "no encoder of segmentation_models_pytorch is here that is called", name, ENCODERS
        )
    return ENCODERS[name](**fields)


def unet(
    *,
    encoder_name: str = "resnet34",
    encoder_weights: Any = "imagenet",
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
    in_channels: int = 3,
    classes: int = 1,
) -> Built:
    """``Unet``."""
    encoder = _encoder(encoder_name)
    centre = (encoder.widths[-1],) * 2 if encoder_name.startswith("vgg") else ()
    model = UNet(classes, encoder=encoder, widths=tuple(decoder_channels), centre=centre)
    return Built(model, in_channels)


NETWORKS: Mapping[str, Builder] = {"Unet": unet}
"""By the name of the class."""
