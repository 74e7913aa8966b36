"""BioImage.IO's U-Net of fluorescent nuclei, whose class there is ``UNet2d``."""

from collections.abc import Mapping

from jaxseg.convert.built import Builder, Built
from jaxseg.models import BaselineUNet


def _unet(*, input_channels: int = 1, output_channels: int = 1) -> Built:
    """Images are z-scored before it (`jaxseg.data.ZScore`); its sigmoid is left to the caller."""
    widths = (16, 32, 64, 128)
    model = BaselineUNet(output_channels, widths=widths, form="bioimage", head_bias=True)
    return Built(model, input_channels)


NETWORKS: Mapping[str, Builder] = {"UNet2d": _unet}
"""Builders by the name of the class."""
