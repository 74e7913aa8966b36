"""MeshNet as its authors and brainchop have it: for each of their networks what is the same here.

brainchop's files come from Keras: kernels are ``[*kernel in out]``, and norms are in them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.convert.adn import adn
from jaxseg.convert.built import Builder, Built, Images, same
from jaxseg.data.normalize import Percentile
from jaxseg.errors import UserError, require
from jaxseg.layers import ADN
from jaxseg.models import MeshNet


def authors(*, params: Sequence[Mapping[str, Any]], bn_before: bool = True) -> Built:
    """``MeshNet`` of ``Entodi/meshnet-pytorch``, of the ``params`` in its YAML files."""
    require(len(params) > 1, "params", params, "of two layers or more")
    try:
        layers = [dict(layer["params"]) for layer in params]
        dropouts = {float(layer["dropout"]) for layer in params[:-1]}
        channels, classes = layers[0]["in_channels"], layers[-1]["out_channels"]
        widths = {layer["out_channels"] for layer in layers[:-1]}
        dilations = tuple(layer.get("dilation", 1) for layer in layers[:-1])
        layout = [[layer.get(f, d) for f, d in _DEFAULTS.items()] for layer in layers]
    except (KeyError, AttributeError) as error:
        raise UserError(f"params: a layer has no {error}, which its YAML files have") from error
    fits = layout == [*([3, 1, d, d] for d in dilations), [1, 1, 0, 1]]
    fits = fits and all(layer.keys() <= {*_NUMBERS, *_DEFAULTS} for layer in layers)
    what = "kernels of 3, padded by their dilation, and one of 1 at the end, of no other options"
    require(fits, "params", params, what)
    one = len(widths) == len(dropouts) == 1
    require(one, "params", params, "of one width and one dropout in all layers but the last")
    (dropout,) = dropouts
    after = ADN(
        "batch",
        "relu",
        dropout,
        order="NAD" if bn_before else "AND",
        affine=True,
        dropped="channels",
    )
    model = MeshNet(classes, width=widths.pop(), dilations=dilations, after=after)
    return Built(model, channels, 3)


_NUMBERS = ("in_channels", "out_channels")
_DEFAULTS = {"kernel_size": None, "stride": 1, "padding": 0, "dilation": 1}


def brainchop(
    *,
    in_channels: int = 1,
    classes: int = 3,
    channels: int = 11,
    dilations: Sequence[int] = (1, 2, 4, 8, 4, 2, 2, 1),
    act: str = "relu",
) -> Built:
    """``MeshNet`` of brainchop, by default that of grey and white matter.

    Its convolutions are called 19, 21, ... and output, as there.
    """
    same("act", act, "relu", "elu", "gelu")
    model = MeshNet(classes, width=channels, dilations=tuple(dilations), after=adn(act, None, None))
    images = Images(
        normalize=Percentile(low=0.0, high=100.0),
        window=(256,) * 3,
        notes=(
            "images are scaled from their least and largest value to 0 and 1, and pass at once; "
            "they are expected as FreeSurfer conforms them: 256 x 256 x 256 voxels of 1 mm",
        ),
    )
    return Built(model, in_channels, 3, images=images)


AUTHORS: Mapping[str, Builder] = {"MeshNet": authors}
"""Classes of ``Entodi/meshnet-pytorch``, by name."""

BRAINCHOP: Mapping[str, Builder] = {"MeshNet": brainchop, "meshnet": brainchop}
"""brainchop's, which calls a network's kind by either name."""
