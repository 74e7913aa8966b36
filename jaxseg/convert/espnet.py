"""The authors' ESPNet and ESPNetv2: for each of their classes, what computes the same here.

``encoderFile``, ``pretrained`` and ``gpus`` say where weights come from and where they lie, nothing
about the network, and are taken for that reason only.
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxseg.convert.built import Builder, Built
from jaxseg.encoders import ESPNetC
from jaxseg.errors import require
from jaxseg.models import ESPNet, ESPNetV2


def espnet(*, classes: int = 20, p: int = 2, q: int = 3, encoderFile: Any = None) -> Built:
    """``ESPNet``."""
    # with fewer, theirs have branches of no channel
    require(classes >= 5, "classes", classes, "at least 5, one for each dilation of a pyramid")
    return Built(ESPNet(classes, encoder=_encoder(p, q)))


def espnet_encoder(*, classes: int = 20, p: int = 5, q: int = 3) -> Built:
    """``ESPNet_Encoder``, whose scores are an eighth of the image's size; here they are enlarged.

    That is what the authors do before they look at them.
    """
    return Built(ESPNet(classes, encoder=_encoder(p, q), decoder="none"))


def _encoder(p: int, q: int) -> ESPNetC:
    require(min(p, q) >= 1, "p, q", (p, q), "at least 1 each")
    return ESPNetC(depths=(p, q))


def eespnet_seg(
    *, classes: int = 20, s: float | int = 1, pretrained: Any = None, gpus: int = 1
) -> Built:
    """``EESPNet_Seg``."""
    require(0 < s <= 1.5 or s == 2, "s", s, "above 0 and up to 1.5, or 2")
    first = math.ceil(int(32 * s) / 4) * 4
    widths = (min(first, 32), *(first * 2**level for level in (1, 2, 3)))
    dropout = 0.1 if s <= 0.5 else 0.2
    return Built(ESPNetV2(classes, widths=widths, dropout=dropout, idle_slopes=True))


ESPNETS: Mapping[str, Builder] = {"ESPNet": espnet, "ESPNet_Encoder": espnet_encoder}
"""Classes of ``sacmehta/ESPNet``, by name."""

ESPNETS_V2: Mapping[str, Builder] = {"EESPNet_Seg": eespnet_seg}
"""Classes of ``sacmehta/ESPNetv2``, by name."""
