"""Networks, a paper a file. ``MODELS`` is the one list of them."""

from typing import Any, NamedTuple

import flax.linen as nn

from jaxseg import encoders
from jaxseg.errors import unknown
from jaxseg.fields import configurable
from jaxseg.models.unet import UNet
from jaxseg.models.unet_2015 import UNet2015
from jaxseg.models.unet_multi_output import UNetMultiOutput


class Paper(NamedTuple):
    """Where a network was proposed: title, first author, year, address."""

    paper: str
    author: str
    year: int
    url: str


MODELS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "unet_2015": UNet2015,
    "unet_multi_output": UNetMultiOutput,
}

_UNET = Paper(
    "U-Net: Convolutional Networks for Biomedical Image Segmentation",
    "Ronneberger",
    2015,
    "https://arxiv.org/abs/1505.04597",
)
PAPERS: dict[str, Paper] = {
    "unet": _UNET,
    "unet_2015": _UNET,
    "unet_multi_output": Paper(
        "CNN-based Segmentation of Medical Imaging Data",
        "Kayalibay",
        2017,
        "https://arxiv.org/abs/1701.03056",
    ),
}


def create(name: str, *, num_classes: int, **fields: Any) -> nn.Module:
    """The network of that name; an ``encoder`` may be given by its name in ``ENCODERS``.

    UserError names the nearest known model, encoder or field.
    """
    if name not in MODELS:
        raise unknown("no model is called", name, MODELS)
    model = MODELS[name]
    names = configurable(model)
    for field in fields:
        if field not in names:
            raise unknown(f"no field of {name} is called", field, names)
    if isinstance(fields.get("encoder"), str):
        fields["encoder"] = encoders.create(fields["encoder"])
    return model(num_classes=num_classes, **fields)
