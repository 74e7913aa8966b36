"""What the classes of segmentation_models_pytorch have in common: arguments, norms, interpolation.

``encoder_weights`` says nothing about the network and is taken for that reason only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn

from jaxseg.convert.built import same
from jaxseg.convert.smp_encoder import Part, encoder_of
from jaxseg.errors import UserError
from jaxseg.layers import Kind


@dataclass(frozen=True, kw_only=True)
class Common:
    """The arguments that every class takes, with the defaults of most."""

    encoder_name: str = "resnet34"
    encoder_depth: int = 5
    encoder_weights: Any = "imagenet"
    in_channels: int = 3
    classes: int = 1
    activation: Any = None
    aux_params: Any = None

    def __post_init__(self) -> None:
        """Refuse what gives no logits, or more than logits."""
        logits = "; jaxseg's networks give logits, to which it can be applied"
        same("activation", self.activation, None, "identity", hint=logits)
        alone = "; no network here scores the image as a whole beside its pixels"
        same("aux_params", self.aux_params, None, hint=alone)

    def encoder(self, part: Part = "two", output_stride: int = 32) -> nn.Module:
        """The encoder, with the features that a decoder is given."""
        return encoder_of(self.encoder_name, self.encoder_depth, part, output_stride)

    def without(self, of: str, *beginnings: str) -> None:
        """Refuse encoders that a class does not take there either."""
        if self.encoder_name.startswith(beginnings):
            raise UserError(f"encoder_name={self.encoder_name!r}: {of} does not take it")

    def upsampled(self, upsampling: Any, stride: int) -> None:
        """Refuse an ``upsampling`` that does not give logits of the image's size."""
        hint = f": logits have stride {stride}, and get the size of the image"
        same("upsampling", upsampling, stride, hint=hint)


def norm_of(use_norm: Any, use_batchnorm: Any = None) -> Kind:
    """Our name of ``decoder_use_norm``; ``use_batchnorm`` is its older name, and goes first."""
    name, given = "decoder_use_norm", use_norm if use_batchnorm is None else use_batchnorm
    if isinstance(given, bool):
        given = "batchnorm" if given else "identity"
    settings = dict(given) if isinstance(given, Mapping) else {"type": given}
    kind = settings.pop("type", None)
    kind = kind.lower() if isinstance(kind, str) else kind
    hint = WITHOUT.get(str(kind), "")
    same(f"{name}['type']", kind, "batchnorm", "identity", "instancenorm", hint=hint)
    # their networks with an instance norm that has no weights cannot be constructed
    usual = {"eps": 1e-5, "momentum": 0.1, "affine": True}
    usual["track_running_stats"] = kind == "batchnorm"
    if kind == "instancenorm":
        same(f"{name}['affine']", settings.get("affine", False), True, hint=WITHOUT["plain"])
    if kind != "identity":
        for setting, value in settings.items():
            same(f"{name}[{setting!r}]", value, usual.get(setting))
    norms: dict[str, Kind] = {"batchnorm": "batch", "identity": "none", "instancenorm": "instance"}
    return norms[str(kind)]


WITHOUT = {
    "inplace": "; inplace_abn takes the absolute values of its weights",
    "layernorm": "; theirs is over the width of a map, and fits images of one size",
    "plain": "; without weights theirs cannot be constructed",
}
"""Why a norm of theirs is not here."""

NEAREST = ("nearest", "nearest-exact", "area")
"""Three names of one thing where sizes double."""


def interpolation_of(value: Any) -> Any:
    """Our name of ``decoder_interpolation``."""
    same("decoder_interpolation", value, *NEAREST, "bilinear")
    return "nearest" if value in NEAREST else "bilinear"
