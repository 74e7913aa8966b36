"""segmentation_models_pytorch's networks: for each of its classes, what computes the same here.

The defaults are those of its version 0.6. Each builder takes the arguments that are of its class
alone; `Common` has those that all classes take.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import flax.linen as nn

from jaxseg.convert.built import Builder, Built, same
from jaxseg.convert.smp_common import Common, interpolation_of, norm_of
from jaxseg.convert.smp_encoder import expected
from jaxseg.errors import UserError, require
from jaxseg.layers import ConcurrentExcitation
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
        upsample=interpolation_of(decoder_interpolation),
        norm=norm_of(decoder_use_norm, decoder_use_batchnorm),
        recalibration=_attention(decoder_attention_type),
        recalibrated="joined" if decoder_attention_type else "level",
        centre=_centre(common),
        padded=False,
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
        upsample=interpolation_of(decoder_interpolation),
        norm=norm_of(decoder_use_norm, decoder_use_batchnorm),
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
        upsample=interpolation_of(decoder_interpolation),
        norm=norm_of(decoder_use_norm, decoder_use_batchnorm),
    )


def linknet(
    common: Common, *, decoder_use_norm: Any = "batchnorm", decoder_use_batchnorm: Any = None
) -> nn.Module:
    """``Linknet``."""
    common.without("Linknet", "mit_b")
    norm = norm_of(decoder_use_norm, decoder_use_batchnorm)
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
        upsample=interpolation_of(decoder_interpolation),
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
        norm=norm_of(decoder_use_norm, psp_use_batchnorm),
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
        norm=norm_of(decoder_use_norm),
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
