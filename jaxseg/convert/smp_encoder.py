"""The encoders of segmentation_models_pytorch, as ours, by the arguments of ``get_encoder``."""

from typing import Any, Literal

import flax.linen as nn

from jaxseg.convert.built import CENTRED, IMAGENET, same
from jaxseg.encoders import (
    ENCODERS,
    VGG,
    AlignedXception,
    Cut,
    EfficientNetLite,
    MiT,
    ResNet,
    Standardize,
)
from jaxseg.encoders.efficientnet_lite import LITE, scaled
from jaxseg.encoders.resnet import BASIC
from jaxseg.errors import UserError, require, unknown

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
RESNEXTS = {f"resnext101_32x{width}d": width for width in (4, 8, 16, 32, 48)}
VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))
DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")
MITS = tuple(f"mit_b{i}" for i in range(6))

LITES = {f"timm-tf_efficientnet_lite{n}": scaled(*by) for n, by in LITE.items()}

OWN = (
    *(*RESNETS, "resnext50_32x4d", *RESNEXTS, *VGGS, *DENSENETS, *MITS),
    *("mobilenet_v2", "xception", *LITES),
)
"""Names of its own encoders that are here."""

WIDE = ("wide_resnet50_2", "wide_resnet101_2")
XCEPTIONS = ("xception41", "xception65", "xception71")
TIMM = (
    *(*RESNETS, "resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d"),
    *(*WIDE, *XCEPTIONS),
)
"""Names of timm's that are here, after ``tu-``; that of their weights may follow a dot."""

Part = Literal["two", "four", "last_four", "with_empty"]
"""Which features a decoder is given: from the stride 2 or 4 on, the four coarsest (with the image
itself where ``encoder_depth`` is 3), or from 2 on with a map of no channels where there is none."""


def encoder_of(name: str, depth: int, part: Part = "two", output_stride: int = 32) -> nn.Module:
    """The features that a decoder is given of ``encoder_depth`` stages.

    UserError for an encoder that is not here, or that cannot be dilated there or here.
    """
    require(type(depth) is int and 3 <= depth <= 5, "encoder_depth", depth, "3, 4 or 5")
    encoder = _named(name)
    if output_stride != 32:
        encoder = _dilated(encoder, name, output_stride)
    fields: dict[str, Any] = {"place": "model", "deeper": "none"} if name[:3] == "tu-" else {}
    if isinstance(encoder, AlignedXception):
        fields["flat"] = ("stem", "blocks")
        # of fewer stages it keeps the rest of the block in which the last of them ends
        same("encoder_depth", depth, 5, hint=f" with {name}")
    begin, end = 0, depth
    if isinstance(encoder, MiT):  # whose first feature is that of the second stage
        end = depth - 1
        if part == "with_empty":
            fields["first"] = "empty"
        if part == "last_four":
            same("encoder_depth", depth, 5, hint=f" with {name}")
    elif part == "four" and depth < 5:  # of all five ours take the four coarsest by themselves
        begin = 1
    elif part == "last_four" and depth == 3:
        if isinstance(encoder, VGG):
            encoder, end = encoder.clone(finest=1), 4
        else:
            fields["first"] = "image"
    if not fields and (begin, end) == (0, len(_strides(encoder))):
        return encoder
    return Cut(encoder, end, begin, **fields)


def _named(name: str) -> nn.Module:
    if not isinstance(name, str):
        raise UserError(f"encoder_name={name!r}: must be a name")
    if name.startswith("tu-"):
        bare = name[3:].split(".")[0]
        if bare not in TIMM:
            raise unknown("no encoder of timm is here that is called", name, _with_tu())
        return _timm(bare)
    if name not in OWN:
        known = (*OWN, *_with_tu())
        raise unknown(
            "no encoder of segmentation_models_pytorch is here that is called", name, known
        )
    if name in RESNEXTS:
        return ResNet(101, groups=32, base_width=RESNEXTS[name])
    if name in LITES:
        # padded as PyTorch does, though their weights are TensorFlow's
        return EfficientNetLite(LITES[name], form="pytorch", unread=1280)
    # their stride 1 is left out by all decoders
    return ENCODERS[name](finest=2) if name in VGGS else ENCODERS[name]()


def expected(name: str) -> Standardize:
    """What the ImageNet weights of the encoder of this name expect of an image in [0, 1]."""
    return CENTRED if "xception" in name or name in LITES else IMAGENET


def _with_tu() -> tuple[str, ...]:
    return tuple(f"tu-{name}" for name in TIMM)


def _timm(name: str) -> nn.Module:
    if name in RESNEXTS:
        return ResNet(101, groups=32, base_width=RESNEXTS[name])
    if name in XCEPTIONS:
        return ENCODERS[name](tap="activated")
    return ENCODERS[name]()


def _dilated(encoder: nn.Module, name: str, output_stride: int) -> nn.Module:
    fields: dict[str, Any] = {"output_stride": output_stride}
    if isinstance(encoder, ResNet) and name.startswith("tu-"):
        fields["dilated"] = "after_first"
    basic = isinstance(encoder, ResNet) and encoder.depth in BASIC and name.startswith("tu-")
    if isinstance(encoder, VGG) or not hasattr(encoder, "output_stride") or basic:
        raise UserError(
            f"encoder_name={name!r}: has no encoder_output_stride={output_stride} here; encoders "
            "such as 'resnet50' and 'mobilenet_v2' have one"
        )
    return encoder.clone(**fields)


def _strides(encoder: Any) -> tuple[int, ...]:
    return tuple(encoder.strides)
