"""segmentation_models_pytorch's networks: for each of its classes, what computes the same here.

The defaults are those of its version 0.6. Each builder takes the arguments that are of its class
alone; `Common` has those that all classes take. ``encoder_weights`` says nothing about the network
and is taken for that reason only.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import flax.linen as nn

from jaxseg.convert.built import Builder, Built, same
from jaxseg.convert.smp_encoder import Part, encoder_of, expected
from jaxseg.errors import UserError, require
from jaxseg.layers import ConcurrentExcitation, Kind
from jaxseg.models import (
    FPN,
    PAN,
    DeepLabV3,
    DeepLabV3Plus,
    LinkNet,
    MANet,
    PSPNet,
    SegFormer,
    UNet,
    UNetPlusPlus,
    UPerNet,
)

WIDTHS = (256, 128, 64, 32, 16)


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


def _norm(use_norm: Any, use_batchnorm: Any = None) -> Kind:
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


def _interpolation(value: Any) -> Any:
    same("decoder_interpolation", value, *NEAREST, "bilinear")
    return "nearest" if value in NEAREST else "bilinear"


def _attention(value: Any) -> nn.Module | None:
    same("decoder_attention_type", value, None, "scse")
    return ConcurrentExcitation("add", 16) if value == "scse" else None


def _widths(common: Common, decoder_channels: Sequence[int]) -> tuple[int, ...]:
    depth = common.encoder_depth
    known = isinstance(decoder_channels, list | tuple) and len(decoder_channels) == depth
    require(
        known, "decoder_channels", decoder_channels, f"{depth} widths, as many as encoder_depth"
    )
    return tuple(decoder_channels)


def _centre(common: Common) -> tuple[int, ...]:
    """Their two convolutions after VGG, whose last maps are all as wide."""
    return (512, 512) if common.encoder_name.startswith("vgg") else ()


# --- encoder and decoder of as many levels --------------------------------------------------------


def unet(
    common: Common,
    *,
    decoder_use_norm: Any = "batchnorm",
    decoder_use_batchnorm: Any = None,
    decoder_channels: Sequence[int] = WIDTHS,
    decoder_attention_type: str | None = None,
    decoder_interpolation: str = "nearest",
) -> nn.Module:
    """``Unet``."""
    return UNet(
        common.classes,
        encoder=common.encoder("with_empty"),
        widths=_widths(common, decoder_channels),
        upsample=_interpolation(decoder_interpolation),
        norm=_norm(decoder_use_norm, decoder_use_batchnorm),
        recalibration=_attention(decoder_attention_type),
        recalibrated="joined" if decoder_attention_type else "level",
        centre=_centre(common),
    )


def unet_plus_plus(
    common: Common,
    *,
    decoder_use_norm: Any = "batchnorm",
    decoder_use_batchnorm: Any = None,
    decoder_channels: Sequence[int] = WIDTHS,
    decoder_attention_type: str | None = None,
    decoder_interpolation: str = "nearest",
) -> nn.Module:
    """``UnetPlusPlus``."""
    common.without("UnetPlusPlus", "mit_b")
    return UNetPlusPlus(
        common.classes,
        encoder=common.encoder(),
        nodes="smp",
        diagonal=_widths(common, decoder_channels),
        upsample=_interpolation(decoder_interpolation),
        norm=_norm(decoder_use_norm, decoder_use_batchnorm),
        head_kernel=3,
        recalibration=_attention(decoder_attention_type),
        centre=_centre(common),
    )


def manet(
    common: Common,
    *,
    decoder_use_norm: Any = "batchnorm",
    decoder_use_batchnorm: Any = None,
    decoder_channels: Sequence[int] = WIDTHS,
    decoder_pab_channels: int = 64,
    decoder_interpolation: str = "nearest",
) -> nn.Module:
    """``MAnet``."""
    return MANet(
        common.classes,
        encoder=common.encoder("with_empty"),
        widths=_widths(common, decoder_channels),
        attention="smp",
        position_width=decoder_pab_channels,
        upsample=_interpolation(decoder_interpolation),
        norm=_norm(decoder_use_norm, decoder_use_batchnorm),
    )


def linknet(
    common: Common, *, decoder_use_norm: Any = "batchnorm", decoder_use_batchnorm: Any = None
) -> nn.Module:
    """``Linknet``."""
    common.without("Linknet", "mit_b")
    norm = _norm(decoder_use_norm, decoder_use_batchnorm)
    return LinkNet(common.classes, encoder=common.encoder(), form="smp", norm=norm)


# --- pyramids -------------------------------------------------------------------------------------


def fpn(
    common: Common,
    *,
    decoder_pyramid_channels: int = 256,
    decoder_segmentation_channels: int = 128,
    decoder_merge_policy: str = "add",
    decoder_dropout: float = 0.2,
    decoder_interpolation: str = "nearest",
    upsampling: int = 4,
) -> nn.Module:
    """``FPN``."""
    common.upsampled(upsampling, 2 ** (common.encoder_depth - 3))
    same("decoder_merge_policy", decoder_merge_policy, "add", "cat")
    width = decoder_segmentation_channels
    require(width % 32 == 0, "decoder_segmentation_channels", width, "a multiple of 32")
    return FPN(
        common.classes,
        encoder=common.encoder("last_four"),
        width=decoder_pyramid_channels,
        branch_width=width,
        smooth="none",
        merge="sum" if decoder_merge_policy == "add" else "concatenation",
        upsample=_interpolation(decoder_interpolation),
        align_corners=True,
        dropout=decoder_dropout,
    )


def pspnet(
    common: Common,
    *,
    psp_out_channels: int = 512,
    decoder_use_norm: Any = "batchnorm",
    psp_use_batchnorm: Any = None,
    psp_dropout: float = 0.2,
    upsampling: int = 8,
) -> nn.Module:
    """``PSPNet``."""
    common.upsampled(upsampling, 2**common.encoder_depth)
    return PSPNet(
        common.classes,
        encoder=common.encoder(),
        order="input_last",
        norm_of_one="none",
        width=psp_out_channels,
        fusion_kernel=1,
        head_kernel=3,
        auxiliary="none",
        dropout=psp_dropout,
        norm=_norm(decoder_use_norm, psp_use_batchnorm),
    )


def pan(
    common: Common,
    *,
    encoder_output_stride: int = 16,
    decoder_channels: int = 32,
    decoder_interpolation: str = "bilinear",
    upscale_mode: str | None = None,
    upsampling: int = 4,
) -> nn.Module:
    """``PAN``."""
    same("encoder_output_stride", encoder_output_stride, 16, 32)
    same("decoder_interpolation", upscale_mode or decoder_interpolation, "bilinear")
    common.upsampled(upsampling, 4)
    return PAN(
        common.classes,
        encoder=common.encoder("four", encoder_output_stride),
        width=decoder_channels,
        gate="sigmoid",
        use_bias=True,
    )


def upernet(
    common: Common,
    *,
    decoder_channels: int = 256,
    decoder_use_norm: Any = "batchnorm",
    upsampling: int = 4,
) -> nn.Module:
    """``UPerNet``."""
    common.upsampled(upsampling, 4)
    return UPerNet(
        common.classes,
        encoder=common.encoder("four"),
        width=decoder_channels,
        reduced="pooled",
        feature_norm="layer",
        align_corners=True,
        norm=_norm(decoder_use_norm),
        norm_of_top="batch",
    )


def segformer(
    common: Common, *, decoder_segmentation_channels: int = 256, upsampling: int = 4
) -> nn.Module:
    """``Segformer``."""
    common.upsampled(upsampling, 4)
    return SegFormer(
        common.classes,
        encoder=common.encoder(),
        width=decoder_segmentation_channels,
        align_corners=True,
        dropout=0.0,
    )


# --- DeepLab --------------------------------------------------------------------------------------


def deeplab_v3(
    common: Common,
    *,
    encoder_output_stride: int = 8,
    decoder_channels: int = 256,
    decoder_atrous_rates: Sequence[int] = (12, 24, 36),
    decoder_aspp_separable: bool = False,
    decoder_aspp_dropout: float = 0.5,
    upsampling: int | None = None,
) -> nn.Module:
    """``DeepLabV3``."""
    same("encoder_output_stride", encoder_output_stride, 8, 16)
    encoder: Any = common.encoder("two", encoder_output_stride)
    common.upsampled(upsampling or encoder.strides[-1], encoder.strides[-1])
    return DeepLabV3(
        common.classes,
        encoder=encoder,
        rates=_rates(decoder_atrous_rates),
        rates_stride=encoder.strides[-1],
        width=decoder_channels,
        context_convs=1,
        order="torch",
        form="community" if decoder_aspp_separable else "standard",
        align_corners=True,
        dropout=decoder_aspp_dropout,
    )


def deeplab_v3_plus(
    common: Common,
    *,
    encoder_output_stride: int = 16,
    decoder_channels: int = 256,
    decoder_atrous_rates: Sequence[int] = (12, 24, 36),
    decoder_aspp_separable: bool = True,
    decoder_aspp_dropout: float = 0.5,
    upsampling: int = 4,
) -> nn.Module:
    """``DeepLabV3Plus``."""
    same("encoder_output_stride", encoder_output_stride, 8, 16)
    common.upsampled(upsampling, 4)
    encoder: Any = common.encoder("two", encoder_output_stride)
    return DeepLabV3Plus(
        common.classes,
        encoder=encoder,
        rates=_rates(decoder_atrous_rates),
        rates_stride=encoder.strides[-1],
        form="community" if decoder_aspp_separable else "standard",
        decoder_form="community",
        width=decoder_channels,
        context_convs=1,
        decoder_convs=1,
        order="torch",
        dropout=decoder_aspp_dropout,
    )


def _rates(rates: Sequence[int]) -> tuple[int, ...]:
    fits = isinstance(rates, list | tuple) and len(rates) == 3
    require(fits, "decoder_atrous_rates", rates, "three whole numbers")
    return tuple(rates)


# --- the classes ----------------------------------------------------------------------------------


def _class(network: Callable[..., nn.Module], **defaults: Any) -> Builder:
    """A builder of the arguments of `Common` and of the network's own."""
    names = {field.name for field in fields(Common)}

    def built(**kwargs: Any) -> Built:
        given = {name: kwargs.pop(name) for name in names & kwargs.keys()}
        common = Common(**{**defaults, **given})
        standardize = expected(common.encoder_name) if common.in_channels == 3 else None
        return Built(network(common, **kwargs), common.in_channels, standardize=standardize)

    shared = inspect.signature(Common).parameters.values()
    _, *own = inspect.signature(network).parameters.values()
    built.__signature__ = inspect.Signature([*shared, *own])  # pyright: ignore
    return built


def _dpt(common: Common) -> nn.Module:
    raise UserError("DPT: no vision transformer is here, which is its encoder")


NETWORKS: Mapping[str, Builder] = {
    "Unet": _class(unet),
    "UnetPlusPlus": _class(unet_plus_plus),
    "MAnet": _class(manet),
    "Linknet": _class(linknet),
    "FPN": _class(fpn),
    "PSPNet": _class(pspnet, encoder_depth=3),
    "PAN": _class(pan),
    "DeepLabV3": _class(deeplab_v3),
    "DeepLabV3Plus": _class(deeplab_v3_plus),
    "UPerNet": _class(upernet),
    "Segformer": _class(segformer),
    "DPT": _class(_dpt),
}
"""Builders by the name of the class."""
